//! The OpenPGP card application.
