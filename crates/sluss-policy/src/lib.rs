//! What IT wants: the policy and the device binding, parsed into types that cannot be wrong.
