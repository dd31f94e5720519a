//! Which partition a key belongs to, as Java's client has it by default: murmur2 of the key, modulo the number of partitions.

const SEED: u32 = 0x9747_b28c;
const M: u32 = 0x5bd1_e995;
const R: u32 = 24;

/// The partition of a key among so many. `None`: there are none.
pub fn partition_of(key: &[u8], partitions: i32) -> Option<i32> {
    ((murmur2(key) & 0x7fff_ffff) as i32)
        .checked_rem(partitions)
        .filter(|_| partitions > 0)
}

/// `org.apache.kafka.common.utils.Utils.murmur2`.
fn murmur2(data: &[u8]) -> u32 {
    let mut hash = SEED ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut word = u32::from_le_bytes(*word).wrapping_mul(M);
        word ^= word >> R;
        hash = hash.wrapping_mul(M) ^ word.wrapping_mul(M);
    }
    for (index, byte) in rest.iter().enumerate().rev() {
        hash ^= u32::from(*byte) << (8 * index);
        if index == 0 {
            hash = hash.wrapping_mul(M);
        }
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_kafkas_own_tests() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }

    #[test]
    fn a_partition_is_one_of_those_that_are_there() {
        assert_eq!(partition_of(b"21", 12), Some((-973_932_308_i32 & 0x7fff_ffff) % 12));
        assert_eq!(partition_of(b"21", 1), Some(0));
        assert_eq!((partition_of(b"21", 0), partition_of(b"21", -1)), (None, None));
    }
}
