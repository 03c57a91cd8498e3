//! Whether a function can return, read from its instructions.
//!
//! `fail(message)` that prints and aborts is no place of a bug: its caller is. Compilers leave no return
//! instruction in a function that never returns, so its code tells, without debug information.

use iced_x86::{Decoder, DecoderOptions, FlowControl};
use object::elf::{EM_AARCH64, EM_X86_64, Machine};

/// Whether code of this machine, which lies at `start`, may return to its caller: it holds a return instruction, or
/// jumps out of itself. True for machines that are not known.
pub fn can_return(machine: Machine, start: u64, code: &[u8]) -> bool {
    match machine {
        EM_X86_64 => x86_64(start, code),
        EM_AARCH64 => aarch64(start, code),
        _ => true,
    }
}

fn x86_64(start: u64, code: &[u8]) -> bool {
    let inside = start..start + code.len() as u64;
    let mut decoder = Decoder::with_ip(64, code, start, DecoderOptions::NONE);
    decoder.iter().any(|instruction| match instruction.flow_control() {
        FlowControl::Return | FlowControl::IndirectBranch => true,
        FlowControl::UnconditionalBranch => !inside.contains(&instruction.near_branch_target()),
        _ => false,
    })
}

/// Arm's manual (DDI 0487), C6.2: RET, RETAA and RETAB; BR; B.
fn aarch64(start: u64, code: &[u8]) -> bool {
    let inside = start..start + code.len() as u64;
    code.chunks_exact(4).enumerate().any(|(at, word)| {
        let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        let is_return = word & 0xFFFF_F01F == 0xD65F_0000 || word & 0xFFFF_FBFF == 0xD65F_0BFF;
        let is_indirect = word & 0xFFFF_FC1F == 0xD61F_0000;
        let is_jump = word >> 26 == 0b00_0101;
        // 26 bits, signed, in words.
        let distance = (i64::from(word << 6 >> 6) << 38 >> 38) * 4;
        let target = start.wrapping_add(at as u64 * 4).wrapping_add_signed(distance);
        is_return || is_indirect || (is_jump && !inside.contains(&target))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_without_a_return_does_not_return() {
        for (what, code, returns) in [
            ("call abort; ud2", &[0xE8, 0, 0, 0, 0, 0x0F, 0x0B][..], false),
            ("mov rbx, rax has a byte like ret's", &[0x48, 0x89, 0xC3, 0xE8, 0, 0, 0, 0], false),
            ("ret", &[0xC3], true),
            ("jmp to itself", &[0xEB, 0xFE], false),
            ("a tail call", &[0xE9, 0, 1, 0, 0], true),
            ("jmp rax", &[0xFF, 0xE0], true),
            ("nothing", &[], false),
        ] {
            assert_eq!(can_return(EM_X86_64, 0x1000, code), returns, "{what}");
        }
        for (what, words, returns) in [
            ("bl; brk", &[0x9400_0000u32, 0xD420_0020][..], false),
            ("ret", &[0xD65F_03C0], true),
            ("retaa", &[0xD65F_0BFF], true),
            ("br x16", &[0xD61F_0200], true),
            ("b .", &[0x1400_0000], false),
            ("b -4", &[0x17FF_FFFF], true),
            ("b +8", &[0x1400_0002], true),
        ] {
            let code: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            assert_eq!(can_return(EM_AARCH64, 0x1000, &code), returns, "{what}");
        }
        assert!(can_return(Machine(0), 0, &[]));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_safe_as_code(code: Vec<u8>, start: u32) {
            can_return(EM_X86_64, start.into(), &code);
            can_return(EM_AARCH64, start.into(), &code);
        }
    }
}
