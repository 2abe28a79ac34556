//! The types that std's `HashMap` and `HashSet` are made of, for the analysis alone: it needs to
//! know that they are types, how many parameters they have, and of what they hold.
#![no_std]

pub mod hash_map {
    use core::marker::PhantomData;

    pub struct HashMap<K, V, S, A> {
        hash_builder: S,
        table: PhantomData<(K, V, A)>,
    }
    pub struct Iter<'a, K, V>(PhantomData<(&'a K, &'a V)>);
    pub struct IterMut<'a, K, V>(PhantomData<(&'a K, &'a mut V)>);
    pub struct IntoIter<K, V, A>(PhantomData<(K, V, A)>);
    pub struct Drain<'a, K, V, A>(PhantomData<&'a mut (K, V, A)>);
    pub struct ExtractIf<'a, K, V, F, A>(F, PhantomData<&'a mut (K, V, A)>);
    pub enum RustcEntry<'a, K, V, A> {
        Occupied(RustcOccupiedEntry<'a, K, V, A>),
        Vacant(RustcVacantEntry<'a, K, V, A>),
    }
    pub struct RustcOccupiedEntry<'a, K, V, A>(PhantomData<&'a mut (K, V, A)>);
    pub struct RustcVacantEntry<'a, K, V, A>(K, PhantomData<&'a mut (K, V, A)>);
}

pub mod hash_set {
    use core::marker::PhantomData;

    pub struct HashSet<T, S, A> {
        hash_builder: S,
        table: PhantomData<(T, A)>,
    }
    pub struct Iter<'a, K>(PhantomData<&'a K>);
    pub struct IntoIter<K, A>(PhantomData<(K, A)>);
    pub struct Drain<'a, K, A>(PhantomData<&'a mut (K, A)>);
    pub struct ExtractIf<'a, K, F, A>(F, PhantomData<&'a mut (K, A)>);
    pub enum Entry<'a, T, S, A> {
        Occupied(OccupiedEntry<'a, T, S, A>),
        Vacant(VacantEntry<'a, T, S, A>),
    }
    pub struct OccupiedEntry<'a, T, S, A>(PhantomData<&'a mut (T, S, A)>);
    pub struct VacantEntry<'a, T, S, A>(T, PhantomData<&'a mut (S, A)>);
}

pub enum TryReserveError {
    CapacityOverflow,
    AllocError { layout: core::alloc::Layout },
}
