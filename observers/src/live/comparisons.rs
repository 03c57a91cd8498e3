//! What a run compared, for LibAFL's input-to-state mutators.
//!
//! Switches the region's comparison log on for a run and puts what it holds into LibAFL's
//! `CmpValuesMetadata`, where `I2SRandReplace` looks. Only libraries of a comparison build write there.

use std::borrow::Cow;

use hitmap_wire::comparisons::{Comparison, INTEGER, LEFT_CONSTANT, MEMORY, OPERAND, STRING, SWITCH};
use libafl::executors::ExitKind;
use libafl::observers::Observer;
use libafl::observers::cmp::{CmpValues, CmpValuesMetadata, CmplogBytes};
use libafl::{Error, HasMetadata};
use libafl_bolts::Named;
use serde::{Deserialize, Serialize};

use super::LiveMap;

/// Fills `CmpValuesMetadata` with what each run compared. It clears the comparison log and nothing
/// else, so it goes with the map's edge observer or alone, as in a `ShadowExecutor` or `TracingStage`.
///
/// One that was serialized and read again reads no map.
#[derive(Debug, Serialize, Deserialize)]
pub struct ComparisonObserver {
    name: Cow<'static, str>,
    #[serde(skip)]
    map: Option<LiveMap>,
}

impl ComparisonObserver {
    /// An observer of what runs compare.
    pub fn new(name: impl Into<Cow<'static, str>>, map: &LiveMap) -> ComparisonObserver {
        ComparisonObserver { name: name.into(), map: Some(map.clone()) }
    }
}

impl Named for ComparisonObserver {
    fn name(&self) -> &Cow<'static, str> {
        &self.name
    }
}

impl<I, S: HasMetadata> Observer<I, S> for ComparisonObserver {
    fn pre_exec(&mut self, _state: &mut S, _input: &I) -> Result<(), Error> {
        if let Some(map) = &self.map {
            map.region().comparisons().clear();
            map.region().comparisons().set_on(true);
        }
        Ok(())
    }

    fn post_exec(&mut self, state: &mut S, _input: &I, _exit_kind: &ExitKind) -> Result<(), Error> {
        let Some(map) = &self.map else { return Ok(()) };
        let log = map.region().comparisons();
        log.set_on(false);
        let values = log.entries().iter().filter_map(value).collect();
        state.metadata_or_insert_with(CmpValuesMetadata::new).list = values;
        Ok(())
    }
}

/// A comparison in LibAFL's words; `None` when it is no use, as both sides are equal, or its bytes make
/// no sense.
fn value(of: &Comparison) -> Option<CmpValues> {
    let (left, right) = (of.left(), of.right());
    if left == right {
        return None;
    }
    match of.kind {
        INTEGER | SWITCH => number(left, right, of.constant & LEFT_CONSTANT != 0),
        MEMORY | STRING if !left.is_empty() && !right.is_empty() => Some(CmpValues::Bytes((bytes(left), bytes(right)))),
        _ => None,
    }
}

fn number(left: &[u8], right: &[u8], constant: bool) -> Option<CmpValues> {
    match (left.len(), right.len()) {
        (1, 1) => Some(CmpValues::U8((left[0], right[0], constant))),
        (2, 2) => {
            let read = |side: &[u8]| side.try_into().ok().map(u16::from_le_bytes);
            Some(CmpValues::U16((read(left)?, read(right)?, constant)))
        }
        (4, 4) => {
            let read = |side: &[u8]| side.try_into().ok().map(u32::from_le_bytes);
            Some(CmpValues::U32((read(left)?, read(right)?, constant)))
        }
        (8, 8) => {
            let read = |side: &[u8]| side.try_into().ok().map(u64::from_le_bytes);
            Some(CmpValues::U64((read(left)?, read(right)?, constant)))
        }
        _ => None,
    }
}

fn bytes(side: &[u8]) -> CmplogBytes {
    let mut buf = [0; OPERAND];
    buf[..side.len()].copy_from_slice(side);
    CmplogBytes::from_buf_and_len(buf, side.len() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(kind: u8, constant: u8, left: &[u8], right: &[u8]) -> Comparison {
        let fill = |side: &[u8]| std::array::from_fn(|i| side.get(i).copied().unwrap_or(0));
        let (left_len, right_len) = (left.len() as u8, right.len() as u8);
        let (left, right) = (fill(left), fill(right));
        Comparison { site: 1, kind, constant, left_len, right_len, reserved: 0, left, right }
    }

    #[test]
    fn comparisons_become_libafls_values() {
        let text = |left: &[u8], right: &[u8]| Some(CmpValues::Bytes((bytes(left), bytes(right))));
        for (kind, constant, left, right, expect) in [
            (INTEGER, LEFT_CONSTANT, &b"\x07"[..], &b"\x09"[..], Some(CmpValues::U8((7, 9, true)))),
            (INTEGER, 0, b"\x01\x02", b"\x03\x00", Some(CmpValues::U16((0x201, 3, false)))),
            (SWITCH, 2, b"\x01\0\0\0", b"\x02\0\0\0", Some(CmpValues::U32((1, 2, false)))),
            (INTEGER, 0, &[1; 8], &[0; 8], Some(CmpValues::U64((0x0101_0101_0101_0101, 0, false)))),
            (MEMORY, 0, b"abc", b"magic", text(b"abc", b"magic")),
            (STRING, 0, &[b'x'; 32], &[b'y'; 32], text(&[b'x'; 32], &[b'y'; 32])),
            (INTEGER, 0, b"same", b"same", None),
            (INTEGER, 0, b"\x01\x02\x03", b"\x01\x02\x04", None),
            (MEMORY, 0, b"", b"a", None),
            (77, 0, b"a", b"b", None),
        ] {
            assert_eq!(value(&comparison(kind, constant, left, right)), expect, "kind {kind}, {left:?}");
        }
    }
}
