//! The console, in a real browser.

/// Nothing on the page keeps anybody out, in any view, light or dark, wide or narrow.
mod accessible;
/// What records hold is text, whatever it is.
mod attacks;
/// The page shows what happens, and is right again after its connection was lost.
mod live;
/// One console shows all instances.
mod peers;
/// A dead letter is found, opened and sent back, by the keyboard alone.
mod redrive;
