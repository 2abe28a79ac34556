//! Where variables live between cells: what evcxr puts into the code of every cell as a module,
//! compiled once. Compiling the module takes longer than compiling most cells.
//!
//! The source of a crate: cells are linked with it. The names, the printed words and the one field
//! are evcxr's, because cells that cargo has compiled bring evcxr's module and use the same store.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

pub const VARIABLE_CHANGED_TYPE: &str = "EVCXR_VARIABLE_CHANGED_TYPE:";
pub const USER_ERROR_OCCURRED: &str = "EVCXR_ERROR_OCCURRED";

#[derive(Default)]
pub struct VariableStore {
    variables: HashMap<String, Box<dyn Any + 'static>>,
}

impl VariableStore {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn put_variable<T: 'static>(&mut self, name: &str, value: T) {
        self.put(name, Box::new(value));
    }

    pub fn check_variable<T: 'static>(&mut self, name: &str) -> bool {
        match self.get(name) {
            Some(value) if !value.is::<T>() => tell_changed(name),
            _ => true,
        }
    }

    pub fn take_variable<T: 'static>(&mut self, name: &str) -> T {
        match self.take(name).downcast() {
            Ok(value) => *value,
            Err(_) => wrong_type(name),
        }
    }

    pub fn lazy_arc<T: 'static, F: FnOnce() -> T>(&mut self, name: &str, create: F) -> Arc<T> {
        if self.get(name).is_none() {
            self.put(name, Box::new(Arc::new(create())));
        }
        match self.get(name).and_then(|value| value.downcast_ref::<Arc<T>>()) {
            Some(value) => Arc::clone(value),
            None => wrong_type(name),
        }
    }

    pub fn merge(&mut self, mut other: Self) {
        self.variables.extend(other.variables.drain());
    }

    // What does not depend on the type is compiled here, and not in every cell.

    fn put(&mut self, name: &str, value: Box<dyn Any>) {
        self.variables.insert(name.to_owned(), value);
    }

    fn get(&self, name: &str) -> Option<&dyn Any> {
        self.variables.get(name).map(|value| &**value)
    }

    fn take(&mut self, name: &str) -> Box<dyn Any> {
        match self.variables.remove(name) {
            Some(value) => value,
            None => panic!("Variable '{name}' has gone missing"),
        }
    }
}

#[cold]
fn tell_changed(name: &str) -> bool {
    eprintln!("The type of the variable {name} was redefined, so was lost.");
    println!("{VARIABLE_CHANGED_TYPE}{name}");
    false
}

#[cold]
fn wrong_type(name: &str) -> ! {
    panic!("Variable '{name}' changed type")
}

pub fn create_variable_store() -> *mut VariableStore {
    Box::into_raw(Box::new(VariableStore::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_kept_by_name_and_type() {
        // SAFETY: the pointer was just made by `Box::into_raw`, and is taken back once.
        let mut store = *unsafe { Box::from_raw(create_variable_store()) };
        store.put_variable("a", vec![1]);
        assert!(store.check_variable::<Vec<i32>>("a") && store.check_variable::<u8>("b"));
        assert!(!store.check_variable::<String>("a"));
        assert_eq!(store.take_variable::<Vec<i32>>("a"), [1]);
        let gone =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| store.take_variable::<Vec<i32>>("a")));
        assert!(gone.is_err());
        let shared = store.lazy_arc("runtime", || 5);
        assert_eq!((*shared, *store.lazy_arc("runtime", || 6)), (5, 5));
        let mut other = VariableStore::new();
        other.put_variable("c", 'c');
        store.merge(other);
        assert_eq!(store.take_variable::<char>("c"), 'c');
        assert_eq!((VARIABLE_CHANGED_TYPE.len(), USER_ERROR_OCCURRED.len()), (28, 20));
    }
}
