//! Values that are large and go to the heap at once.

/// What `make` gives, in a box. `Box::new` is given its value on the stack and copies all of it, the room for what is not
/// there yet included: for a future of some kilobytes that takes longer than to make it. Here the box is there first.
#[inline]
pub fn boxed<T>(make: impl FnOnce() -> T) -> Box<T> {
    Box::write(Box::new_uninit(), make())
}
