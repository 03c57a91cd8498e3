//! XXH3, 64 bits, no seed, its default secret (the xxHash specification, version 0.2).
//!
//! For names: a few hundred bytes, hashed once when a library joins, so nothing here is vectorised.
//! Here because the runtime depends on libc alone.

const P32: [u64; 3] = [0x9E37_79B1, 0x85EB_CA77, 0xC2B2_AE3D];
const P64: [u64; 5] =
    [0x9E37_79B1_85EB_CA87, 0xC2B2_AE3D_27D4_EB4F, 0x1656_67B1_9E37_79F9, 0x85EB_CA77_C2B2_AE63, 0x27D4_EB2F_1656_67C5];

#[rustfmt::skip]
const SECRET: [u8; 192] = [
    0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c,
    0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f,
    0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
    0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c,
    0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
    0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
    0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
    0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64,
    0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb,
    0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
    0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce,
    0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
];

/// The hash.
pub fn hash(input: &[u8]) -> u64 {
    let len = input.len() as u64;
    match input.len() {
        0 => xxh64_avalanche(secret(56) ^ secret(64)),
        1..=3 => {
            let ends = u64::from(input[0]) << 16 | u64::from(input[input.len() - 1]);
            let combined = ends | u64::from(input[input.len() / 2]) << 24 | len << 8;
            xxh64_avalanche(combined ^ word32(&SECRET, 0) ^ word32(&SECRET, 4))
        }
        4..=8 => {
            let both = word32(input, input.len() - 4) + (word32(input, 0) << 32);
            rrmxmx(both ^ secret(8) ^ secret(16), len)
        }
        9..=16 => {
            let low = word(input, 0) ^ secret(24) ^ secret(32);
            let high = word(input, input.len() - 8) ^ secret(40) ^ secret(48);
            avalanche(len.wrapping_add(low.swap_bytes()).wrapping_add(high).wrapping_add(fold(low, high)))
        }
        17..=128 => {
            let pairs = (input.len() - 1) / 32;
            let mixed = (0..=pairs)
                .flat_map(|i| [mix(input, 16 * i, 32 * i), mix(input, input.len() - 16 * (i + 1), 32 * i + 16)]);
            avalanche(mixed.fold(len.wrapping_mul(P64[0]), u64::wrapping_add))
        }
        129..=240 => {
            let first = (0..8).map(|i| mix(input, 16 * i, 16 * i));
            let start = avalanche(first.fold(len.wrapping_mul(P64[0]), u64::wrapping_add));
            let more = (8..input.len() / 16).map(|i| mix(input, 16 * i, 16 * (i - 8) + 3));
            let last = mix(input, input.len() - 16, 136 - 17);
            avalanche(more.fold(start, u64::wrapping_add).wrapping_add(last))
        }
        _ => long(input),
    }
}

const STRIPE: usize = 64;
const STRIPES: usize = (SECRET.len() - STRIPE) / 8;

fn long(input: &[u8]) -> u64 {
    let mut lanes = [P32[2], P64[0], P64[1], P64[2], P64[3], P32[1], P64[4], P32[0]];
    let last = input.len() - 1;
    for (at, stripe) in input[..last / STRIPE * STRIPE].chunks_exact(STRIPE).enumerate() {
        accumulate(&mut lanes, stripe, at % STRIPES * 8);
        if at % STRIPES == STRIPES - 1 {
            for (i, lane) in lanes.iter_mut().enumerate() {
                *lane = (*lane ^ *lane >> 47 ^ secret(SECRET.len() - STRIPE + 8 * i)).wrapping_mul(P32[0]);
            }
        }
    }
    accumulate(&mut lanes, &input[input.len() - STRIPE..], SECRET.len() - STRIPE - 7);
    let start = (input.len() as u64).wrapping_mul(P64[0]);
    let pairs = (0..4).map(|i| fold(lanes[2 * i] ^ secret(11 + 16 * i), lanes[2 * i + 1] ^ secret(19 + 16 * i)));
    avalanche(pairs.fold(start, u64::wrapping_add))
}

fn accumulate(lanes: &mut [u64; 8], stripe: &[u8], at: usize) {
    for i in 0..8 {
        let value = word(stripe, 8 * i);
        let keyed = value ^ secret(at + 8 * i);
        lanes[i ^ 1] = lanes[i ^ 1].wrapping_add(value);
        lanes[i] = lanes[i].wrapping_add((keyed & 0xFFFF_FFFF) * (keyed >> 32));
    }
}

fn mix(input: &[u8], at: usize, secret_at: usize) -> u64 {
    fold(word(input, at) ^ secret(secret_at), word(input, at + 8) ^ secret(secret_at + 8))
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

fn avalanche(mut h: u64) -> u64 {
    h = (h ^ h >> 37).wrapping_mul(0x1656_6791_9E37_79F9);
    h ^ h >> 32
}

fn xxh64_avalanche(mut h: u64) -> u64 {
    h = (h ^ h >> 33).wrapping_mul(P64[1]);
    h = (h ^ h >> 29).wrapping_mul(P64[2]);
    h ^ h >> 32
}

fn rrmxmx(mut h: u64, len: u64) -> u64 {
    const PRIME: u64 = 0x9FB2_1C65_1E98_DF25;
    h = (h ^ h.rotate_left(49) ^ h.rotate_left(24)).wrapping_mul(PRIME);
    h = (h ^ (h >> 35).wrapping_add(len)).wrapping_mul(PRIME);
    h ^ h >> 28
}

fn secret(at: usize) -> u64 {
    word(&SECRET, at)
}

fn word(bytes: &[u8], at: usize) -> u64 {
    word32(bytes, at) | word32(bytes, at + 4) << 32
}

fn word32(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One length of each branch and border; expected values are the reference implementation's.
    #[test]
    fn hashes_are_those_of_the_reference() {
        let input: Vec<u8> = (0..4000u32).map(|i| (i * 7 + i / 251) as u8).collect();
        for (len, expect) in VECTORS {
            assert_eq!(hash(&input[..len]), expect, "{len} bytes");
        }
    }

    #[rustfmt::skip]
    const VECTORS: [(usize, u64); 34] = [
        (0, 0x2d06800538d394c2), (1, 0xc44bdff4074eecdb), (2, 0x9093381c8763d62e),
        (3, 0xc3489259e968ad9e), (4, 0xd3d60c1519014e89), (7, 0x0ffc4827844c63a6),
        (8, 0xb88dee77f6bf6980), (9, 0x03688dcad730d826), (15, 0x2e52bc81c6a30fa3),
        (16, 0x9da23836adf2be1e), (17, 0xf34c3c9cf5a112d1), (32, 0x99cb9ad0f1a11fbe),
        (33, 0xc077b45492d29cde), (64, 0x6efb76ff16f37561), (65, 0x2640848e9137156b),
        (96, 0x764d2d5db92942df), (97, 0x077acb7e5f4fd940), (128, 0x65f3c2c00fa93185),
        (129, 0x28065c6ec25f5b25), (143, 0x2a0cabb0c54e9ca6), (144, 0x600e8d345ff9620d),
        (239, 0x6ce0b13191e635ea), (240, 0x4917a75c0ef8eed7), (241, 0x541b19226f0052e8),
        (256, 0xf2331523b74cf0a4), (257, 0x33074291cf400551), (1023, 0x4e4c866306f8b848),
        (1024, 0xba464919c6bb3ccd), (1025, 0x2aa0034e7827ee42), (1088, 0x6120d50233c9c660),
        (1089, 0x6465773a48ee4306), (2048, 0x956f98bea3210c05), (2049, 0xe26adc81a9c9e336),
        (4000, 0x1b5e93c0d6bd7217),
    ];
}
