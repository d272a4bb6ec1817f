//! Putting right the files of compressed packs, and those of several.

use std::collections::HashMap;
use std::fs::File;

use super::flip::{Budget, mend_payload};
use super::restore::keep;
use super::{Fsck, Outcome, Problem};
use crate::store::error::{Error, Result};
use crate::store::pack::{
    FileDamage, FrameHeader, FrameWriter, PackFile, Packs, ReadAt, RecordKind, Span, check_file,
};
use crate::store::verify::name_file_damage;

/// Payloads of damaged frames as they were, by where in the file the frames are; `None` where they are lost.
type Mended = HashMap<u32, Option<Vec<u8>>>;

impl Fsck<'_> {
    /// Puts right a file of packs, if it is one of frames, as far as that can be done without looking
    /// at its records: where a frame is lost there are zeros afterwards.
    pub(super) fn compressed(&mut self, packs: &Packs, span: &Span) -> Result<()> {
        let path = packs.path(*span.start());
        let io = |e| Error::io("read", &path, e);
        let pack = packs.open_file(span)?;
        let mut damages = Vec::new();
        check_file(&pack, |at, damage| damages.push((at, damage))).map_err(io)?;
        if damages.is_empty() {
            return Ok(());
        }
        let (mut mended, mut budget) = (Mended::new(), Budget::default());
        for (at, damage) in damages {
            let anew = ("written anew".to_owned(), Outcome::Repaired);
            let (action, outcome) = match damage {
                FileDamage::Frame(frame) => {
                    let payload = mend(&pack, &frame, &mut budget).map_err(io)?;
                    let done = match payload {
                        Some(_) => ("one bit was flipped: flipped back".into(), Outcome::Repaired),
                        None => ("given up, what can be had of its records follows".into(), Outcome::GivenUp),
                    };
                    mended.insert(frame.offset, payload);
                    done
                }
                FileDamage::NoFrame(_) => ("gone on without".into(), Outcome::GivenUp),
                FileDamage::Header | FileDamage::FrameHeader | FileDamage::End => anew,
            };
            let name = packs.name(*span.start());
            self.problem(Problem::of(&name, Some(at), name_file_damage(damage), action, outcome))?;
        }
        if self.options.dry_run {
            return Ok(());
        }
        let (new, ()) = packs.write_new(span, |file| write_frames(&pack, &mended, file))?;
        keep(&self.layout, &path, false)?;
        packs.replace(span, &new)?;
        packs.sync_names()
    }
}

/// The payload of a damaged frame as it was, if one bit of it was flipped.
fn mend(pack: &PackFile, frame: &FrameHeader, budget: &mut Budget) -> std::io::Result<Option<Vec<u8>>> {
    if frame.file_end() > pack.file().size()? {
        return Ok(None);
    }
    let mut payload = vec![0; frame.stored as usize];
    pack.file().fill_at(&mut payload, frame.payload())?;
    // Frames are hashed as footers are: without a context.
    let mended = mend_payload(RecordKind::Footer, &mut payload, &frame.hash, budget);
    Ok(mended.then_some(payload))
}

/// Writes the frames of a pack that are as they were, or are so again.
fn write_frames(pack: &PackFile, mended: &Mended, file: &mut File) -> std::io::Result<()> {
    let Some(frames) = pack.frames() else { return Ok(()) };
    let mut writer = FrameWriter::begin(frames.form, frames.whose, file)?;
    for frame in &frames.frames {
        let read = || {
            let mut payload = vec![0; frame.stored as usize];
            pack.file().fill_at(&mut payload, frame.payload()).map(|()| payload)
        };
        let payload = match mended.get(&frame.offset) {
            Some(Some(payload)) => payload.clone(),
            Some(None) => continue,
            None => read()?,
        };
        writer.add(frame.codec, frame.at.into(), frame.len, &payload)?;
    }
    writer.end(frames.len.into()).map(drop)
}
