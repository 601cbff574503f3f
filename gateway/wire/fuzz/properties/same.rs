//! What edits nothing, for properties of what is not edited.

use cordon_wire::{Channel, Rewrite};

/// Changes nothing, and keeps nothing back.
pub(crate) struct Same;

impl Rewrite for Same {
    fn whole(&mut self, text: &str, _: bool) -> String {
        text.to_owned()
    }

    fn push(&mut self, _: &Channel, piece: &str, _: bool) -> String {
        piece.to_owned()
    }

    fn holds(&self, _: &Channel) -> bool {
        false
    }

    fn finish(&mut self, _: &Channel) -> String {
        String::new()
    }
}
