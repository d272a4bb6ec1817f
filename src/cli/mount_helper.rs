//! `mount.fuse.strata`: what mount(8) and systemd run for a line of fstab(5) of the type `fuse.strata`.
//!
//! mount(8) calls it as `mount.fuse.strata SOURCE MOUNTPOINT [-sfnv] [-t TYPE] [-o OPTIONS]`; where there is none of
//! this name, mount.fuse3 calls `strata SOURCE MOUNTPOINT -o OPTIONS`. Both become a `strata mount`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::daemon::{Failure, mounts};

/// Name under which the program is a mount helper.
const NAME: &str = "mount.fuse.strata";
/// What the table of mounts has before the store's path. With it in fstab(5) too, `mount -a` sees what is mounted
/// already.
const SOURCE: &[u8] = mounts::SOURCE.as_bytes();
/// Options that are for mount(8), systemd or the kernel, and mean nothing here or hold always.
const IGNORED: [&str; 21] = [
    "defaults",
    "rw",
    "auto",
    "noauto",
    "user",
    "nouser",
    "users",
    "owner",
    "group",
    "_netdev",
    "nofail",
    "exec",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "async",
    "noatime",
    "nodiratime",
    "relatime",
    "default_permissions",
];
/// The same, with more after them.
const IGNORED_STARTS: [&str; 4] = ["x-", "X-", "comment=", "subtype="];

/// The command line as `strata` takes it, where this process was started to mount a line of fstab(5); none where
/// it is only to look as if it did (`mount -f`).
///
/// # Errors
/// Where an option is unknown.
pub fn translate(arguments: Vec<OsString>) -> Result<Option<Vec<OsString>>, Failure> {
    let name = arguments.first().and_then(|program| Path::new(program).file_name());
    let by_name = name == Some(OsStr::new(NAME));
    // mount.fuse3 has no other way to call it than by a path where a command would stand.
    let is_source =
        |word: &OsString| [&b"/"[..], SOURCE].iter().any(|start| word.as_bytes().starts_with(start));
    let by_form = arguments.len() >= 5 && is_source(&arguments[1]) && arguments[3] == "-o";
    if by_name || by_form { mount(&arguments[1..]) } else { Ok(Some(arguments)) }
}

fn mount(arguments: &[OsString]) -> Result<Option<Vec<OsString>>, Failure> {
    let mut places = Vec::new();
    let mut options = Vec::new();
    let mut only_pretend = false;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_bytes() {
            b"-o" => {
                let list =
                    rest.next().ok_or_else(|| Failure::usage(format!("{NAME}: -o without options")))?;
                options.extend(split(list.as_bytes()));
            }
            b"-t" => drop(rest.next()),
            b"-r" => options.push(b"ro".to_vec()),
            b"-f" => only_pretend = true,
            [b'-', flags @ ..] if !flags.is_empty() && flags.iter().all(|f| b"snvwi".contains(f)) => {}
            [b'-', ..] => {
                return Err(Failure::usage(format!("{NAME}: unknown flag {}", argument.display())));
            }
            _ => places.push(argument.clone()),
        }
    }
    let [source, mountpoint] = <[OsString; 2]>::try_from(places).map_err(|_| {
        Failure::usage(format!("{NAME}: a store and a mountpoint wanted"))
            .hint("a line of /etc/fstab: strata:/srv/store  /mnt/data  fuse.strata  defaults,_netdev  0 0")
    })?;
    let store = match source.as_bytes().strip_prefix(SOURCE) {
        Some(path) => mounts::store_of(path),
        None => source.clone().into(),
    };
    if !store.is_absolute() {
        return Err(Failure::usage(format!("{NAME}: {} is no absolute path of a store", source.display())));
    }
    let mut all: Vec<OsString> = ["strata", "mount", "--store"].map(OsString::from).into();
    all.push(store.into());
    for option in &options {
        all.extend(translated(option)?);
    }
    all.extend(["--".into(), mountpoint]);
    Ok((!only_pretend).then_some(all))
}

/// The parts between commas; a comma after a backslash is part of a value.
fn split(list: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = vec![Vec::new()];
    let mut bytes = list.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b',' => parts.push(Vec::new()),
            b'\\' if bytes.peek() == Some(&b',') => {
                parts.last_mut().into_iter().for_each(|part| part.extend(bytes.next()))
            }
            byte => parts.last_mut().into_iter().for_each(|part| part.push(byte)),
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// An option of fstab(5) as `strata mount` takes it.
fn translated(option: &[u8]) -> Result<Option<OsString>, Failure> {
    let text = String::from_utf8_lossy(option);
    let (name, value) =
        text.split_once('=').map_or((text.as_ref(), None), |(name, value)| (name, Some(value)));
    Ok(match (name, value) {
        ("ro", None) => Some("--read-only".into()),
        ("noexec", None) => Some("--no-exec".into()),
        ("allow_other", None) => Some("--allow-other".into()),
        ("passthrough", None) => Some("--passthrough".into()),
        ("sync", None) => Some("--sync=always".into()),
        ("dataset" | "at" | "sync", Some(value)) => Some(format!("--{name}={value}").into()),
        _ if IGNORED.contains(&text.as_ref()) => None,
        _ if IGNORED_STARTS.iter().any(|start| text.starts_with(start)) => None,
        _ => {
            return Err(Failure::usage(format!("{NAME}: unknown option {text}")).hint(
                "known are ro, noexec, allow_other, passthrough, dataset=NAME, at=VERSION, sync=periodic and sync=always",
            ));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(line: &[&str]) -> Result<Vec<String>, String> {
        let words =
            translate(line.iter().map(OsString::from).collect()).map_err(|e| e.message)?.unwrap_or_default();
        Ok(words.into_iter().map(|word| word.into_string().unwrap()).collect())
    }

    #[test]
    fn lines_of_fstab_become_mounts() {
        let plain = ["strata", "log", "d"];
        assert_eq!(translated(&plain).unwrap(), plain);
        let wanted =
            ["strata", "mount", "--store", "/s", "--read-only", "--dataset=d", "--at=v3", "--", "/m"];
        let options = "ro,noauto,user,_netdev,x-systemd.automount,dataset=d,at=v3";
        assert_eq!(translated(&["/sbin/mount.fuse.strata", "/s", "/m", "-o", options]).unwrap(), wanted);
        assert_eq!(
            translated(&["mount.fuse.strata", "strata:/s", "/m", "-n", "-o", options]).unwrap(),
            wanted
        );
        assert_eq!(translated(&["strata", "/s", "/m", "-o", options]).unwrap(), wanted);
        assert_eq!(translated(&["strata", "strata:/s", "/m", "-o", options]).unwrap(), wanted);
        let bare = ["strata", "mount", "--store", "/s", "--", "/m"];
        assert_eq!(translated(&["mount.fuse.strata", "strata:%2Fs%2C", "/m"]).unwrap()[3], "/s,");
        assert_eq!(translated(&["mount.fuse.strata", "/s", "/m"]).unwrap(), bare);
    }

    #[test]
    fn what_is_unknown_is_refused() {
        for (line, wanted) in [
            (&["/s", "/m", "-o", "rw,frobnicate"][..], "unknown option frobnicate"),
            (&["/s", "/m", "-o"], "-o without"),
            (&["/s", "/m", "--frobnicate"], "unknown flag"),
            (&["/s"], "mountpoint wanted"),
            (&["s", "/m"], "no absolute path"),
        ] {
            let error = translated(&[&["mount.fuse.strata"], line].concat()).unwrap_err();
            assert!(error.contains(wanted), "{error}");
        }
    }

    #[test]
    fn a_comma_can_be_in_a_value() {
        assert_eq!(split(b"a,b=c\\,d,,e"), [&b"a"[..], b"b=c,d", b"e"].map(<[u8]>::to_vec));
    }
}
