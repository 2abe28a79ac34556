//! The types of C that std's own types hold, for the analysis alone. The fields of structures
//! stand for their size only: nothing reads them.
#![no_std]
#![allow(non_camel_case_types)]

pub use core::ffi::{
    c_char, c_double, c_float, c_int, c_long, c_longlong, c_schar, c_short, c_uchar, c_uint, c_ulong,
    c_ulonglong, c_ushort, c_void,
};

pub type blkcnt_t = i64;
pub type blkcnt64_t = i64;
pub type blksize_t = i64;
pub type clock_t = i64;
pub type clockid_t = i32;
pub type dev_t = u64;
pub type gid_t = u32;
pub type in_addr_t = u32;
pub type in_port_t = u16;
pub type ino_t = u64;
pub type ino64_t = u64;
pub type key_t = i32;
pub type loff_t = i64;
pub type mode_t = u32;
pub type nfds_t = u64;
pub type nlink_t = u64;
pub type off_t = i64;
pub type off64_t = i64;
pub type pid_t = i32;
pub type pthread_key_t = u32;
pub type pthread_t = u64;
pub type ptrdiff_t = isize;
pub type sa_family_t = u16;
pub type sighandler_t = usize;
pub type size_t = usize;
pub type socklen_t = u32;
pub type ssize_t = isize;
pub type suseconds_t = i64;
pub type time_t = i64;
pub type uid_t = u32;

macro_rules! structures {
    ($($name:ident)*) => {
        $(#[derive(Clone, Copy)]
        pub struct $name {
            opaque: usize,
        })*
    };
}

structures! {
    Dl_info cmsghdr cpu_set_t dirent dirent64 fd_set in6_addr in_addr iovec ip_mreq ipv6_mreq linger
    msghdr passwd pollfd posix_spawn_file_actions_t posix_spawnattr_t pthread_attr_t pthread_cond_t
    pthread_condattr_t pthread_mutex_t pthread_mutexattr_t pthread_rwlock_t sem_t sigaction siginfo_t
    sigset_t sockaddr sockaddr_in sockaddr_in6 sockaddr_storage sockaddr_un stack_t stat stat64 statx
    statx_timestamp timespec timeval tm ucred
}

pub enum DIR {}
pub enum FILE {}
