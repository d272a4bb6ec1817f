//! What each error is to a program: one table, without a catch-all.

use crate::dataset::Error;
use crate::model::name::NameError;
use crate::store;

/// The errno of an error.
pub fn errno(error: &Error) -> i32 {
    match error {
        Error::Store(error) => store_errno(error),
        Error::NotFound(_) => libc::ENOENT,
        Error::Exists(_) => libc::EEXIST,
        Error::NotADirectory(_) => libc::ENOTDIR,
        Error::IsADirectory(_) => libc::EISDIR,
        Error::NotEmpty(_) => libc::ENOTEMPTY,
        Error::Invalid(_) => libc::EINVAL,
        Error::Name(NameError::TooLong(_)) => libc::ENAMETOOLONG,
        Error::Name(NameError::Invalid(_) | NameError::Dataset(_)) => libc::EINVAL,
        Error::Tag(_) | Error::Annotation(_) => libc::EINVAL,
        Error::NotPermitted(_) => libc::EPERM,
        Error::Barred(_) => libc::EACCES,
        Error::OverQuota { .. } => libc::EDQUOT,
        Error::CrossDataset(_) => libc::EXDEV,
        Error::Immutable(_) => libc::EROFS,
        Error::Running => libc::ETXTBSY,
        Error::NoXattr => libc::ENODATA,
        // What ext4 says when an inode's attributes outgrow their room.
        Error::XattrTooLarge(_) => libc::ENOSPC,
        Error::Unsupported(_) => libc::EOPNOTSUPP,
        Error::TooLarge | Error::TooManyPaths => libc::EFBIG,
        Error::Stale => libc::ESTALE,
        Error::NoDataset(_) | Error::Archived(_) | Error::NoVersion { .. } | Error::Pruned { .. } => {
            libc::ENOENT
        }
        Error::Lost(_) | Error::Purged { .. } => libc::EIO,
        Error::Named { .. } => libc::EBUSY,
        // "Name not unique": the one errno that says what is wrong.
        Error::Ambiguous { .. } => libc::ENOTUNIQ,
    }
}

fn store_errno(error: &store::Error) -> i32 {
    match error {
        store::Error::Io { source, .. } => source.raw_os_error().unwrap_or(libc::EIO),
        store::Error::NoSpace(_) => libc::ENOSPC,
        store::Error::ReadOnly { .. } => libc::EROFS,
        store::Error::Corrupt(_)
        | store::Error::Decode { .. }
        | store::Error::Damaged { .. }
        | store::Error::Missing(_)
        | store::Error::Index(_)
        | store::Error::NotAStore(_)
        | store::Error::NewerFormat { .. }
        | store::Error::NotEmpty(_)
        | store::Error::Refused(_)
        | store::Error::InUse { .. } => libc::EIO,
    }
}
