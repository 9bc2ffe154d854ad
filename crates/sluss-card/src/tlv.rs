//! BER-TLV as cards use it.
