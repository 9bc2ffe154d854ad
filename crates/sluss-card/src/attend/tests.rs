//! What a user and the card can rely on, with a card of words.
