//! What a module's return values mean for who asked.

use crate::pkcs11::wire::{Fault, Tries};
use cryptoki::context::Function;
use cryptoki::error::{Error, RvError};

pub(super) fn fault(error: Error) -> Fault {
    let Error::Pkcs11(value, function) = &error else {
        return Fault::Failed(error.to_string());
    };
    match value {
        RvError::DeviceRemoved
        | RvError::SessionHandleInvalid
        | RvError::SessionClosed
        | RvError::SlotIdInvalid
        | RvError::TokenNotPresent => Fault::Gone,
        RvError::TokenNotRecognized => Fault::Foreign,
        RvError::UserNotLoggedIn => Fault::NotLoggedIn,
        RvError::PinIncorrect => Fault::WrongPin(Tries::Low),
        RvError::PinInvalid | RvError::PinLenRange => Fault::BadPin,
        RvError::PinLocked => Fault::Blocked,
        RvError::FunctionCanceled => Fault::Declined,
        // the last is what SoftHSM says to OAEP with SHA-256
        RvError::FunctionNotSupported
        | RvError::KeyFunctionNotPermitted
        | RvError::KeyTypeInconsistent
        | RvError::MechanismInvalid
        | RvError::MechanismParamInvalid
        | RvError::ArgumentsBad => Fault::Unsupported,
        value => Fault::Failed(format!("{function}: {value:?}")),
    }
}

/// Whether a decryption failed for what was encrypted: whatever a module says then, if it is not about token or key.
pub(super) fn is_bad_padding(error: &Error) -> bool {
    matches!(
        error,
        Error::Pkcs11(
            RvError::EncryptedDataInvalid
                | RvError::EncryptedDataLenRange
                | RvError::DataInvalid
                | RvError::DataLenRange
                | RvError::FunctionFailed
                | RvError::GeneralError,
            Function::Decrypt | Function::DecryptUpdate | Function::DecryptFinal
        )
    )
}
