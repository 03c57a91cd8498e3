//! The forms in which a value that the target compares may stand in its input.
//!
//! Knows values and bytes, not inputs. The forms are REDQUEEN's (NDSS 2019, section III-A): as it
//! is, reversed, narrower than the compare with zeros or the sign before it, and as text.

/// A way to write an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// So many bytes, the least significant first.
    Little(usize),
    /// So many bytes, the most significant first.
    Big(usize),
    /// Decimal digits, with a minus sign before a value below zero.
    Decimal,
    /// Hexadecimal digits.
    Hex,
    /// Hexadecimal digits in capitals.
    HexCapitals,
}

/// Every form that a compare of so many bytes can come from, the widest first.
pub fn forms(width: usize) -> impl Iterator<Item = Form> {
    let sizes = [8, 4, 2].into_iter().filter(move |size| *size <= width);
    let text = [Form::Decimal, Form::Hex, Form::HexCapitals];
    sizes.flat_map(|size| [Form::Little(size), Form::Big(size)]).chain(text).chain([Form::Little(1)])
}

/// `value`, which the target compared as `width` bytes, in a form; `None` when it does not fit.
///
/// A narrow form fits when the bytes that it leaves out are all zero or all the sign.
pub fn write(value: u64, width: usize, form: Form) -> Option<Vec<u8>> {
    let signed = sign_extended(value, width);
    let fits = |size: usize| size == 8 || value >> (8 * size) == 0 || sign_extended(value, size) == signed;
    match form {
        Form::Little(size) => fits(size).then(|| value.to_le_bytes()[..size].to_vec()),
        Form::Big(size) => fits(size).then(|| value.to_be_bytes()[8 - size..].to_vec()),
        Form::Decimal => Some(signed.to_string().into_bytes()),
        Form::Hex => Some(format!("{value:x}").into_bytes()),
        Form::HexCapitals => Some(format!("{value:X}").into_bytes()).filter(|text| text.iter().any(|c| *c > b'9')),
    }
}

fn sign_extended(value: u64, width: usize) -> i64 {
    let unused = 64 - 8 * width.clamp(1, 8) as u32;
    ((value << unused) as i64) >> unused
}

/// A little-endian integer of up to 8 bytes.
pub fn integer(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: u64, width: usize, form: Form, expect: Option<&[u8]>) {
        assert_eq!(write(value, width, form).as_deref(), expect, "{value:#x} {form:?}");
    }

    #[test]
    fn values_are_written_in_every_form() {
        check(0x1234, 4, Form::Little(4), Some(b"\x34\x12\0\0"));
        check(0x1234, 4, Form::Big(4), Some(b"\0\0\x12\x34"));
        check(0x1234, 4, Form::Little(2), Some(b"\x34\x12"));
        check(0x1234, 4, Form::Little(1), None);
        check(0xFFFF_FFFE, 4, Form::Little(1), Some(b"\xFE"));
        check(0xFFFF_FFFE, 8, Form::Little(1), None);
        check(0xFFFF_FFFE, 4, Form::Decimal, Some(b"-2"));
        check(0xFFFF_FFFE, 8, Form::Decimal, Some(b"4294967294"));
        check(0xBEEF, 2, Form::Hex, Some(b"beef"));
        check(0xBEEF, 2, Form::HexCapitals, Some(b"BEEF"));
        check(0x10, 2, Form::HexCapitals, None);
    }

    #[test]
    fn wide_forms_come_first() {
        let all: Vec<Form> = forms(2).collect();
        let text = [Form::Decimal, Form::Hex, Form::HexCapitals];
        assert_eq!(all, [&[Form::Little(2), Form::Big(2)], &text[..], &[Form::Little(1)]].concat());
    }

    proptest::proptest! {
        #[test]
        fn what_fits_is_read_back(value: u64, width in 1usize..9, size in 1usize..9) {
            let value = if width == 8 { value } else { value & ((1 << (8 * width)) - 1) };
            if let Some(bytes) = write(value, width, Form::Little(size.min(width))) {
                let back = integer(&bytes);
                let same = back == value || sign_extended(back, bytes.len()) == sign_extended(value, width);
                proptest::prop_assert!(same);
            }
        }
    }
}
