//! The functions of `string.h` that compiled Rust calls.
//!
//! In assembly: a compiler may recognise a loop that copies and call `memcpy` for it, from here too.

use core::arch::naked_asm;

/// Copies `n` octets between places that do not overlap.
///
/// # Safety
/// The contract of memcpy(3).
#[cfg_attr(not(test), unsafe(no_mangle))]
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
    naked_asm!(
        "mov rax, rdi",
        "cmp rdx, 16",
        "jb 3f",
        "cmp rdx, 512",
        "ja 2f",
        // 16 at a time, and the last 16, which may overlap.
        "movups xmm1, [rsi + rdx - 16]",
        "lea r8, [rdi + rdx - 16]",
        "5:",
        "movups xmm0, [rsi]",
        "movups [rdi], xmm0",
        "add rsi, 16",
        "add rdi, 16",
        "cmp rdi, r8",
        "jb 5b",
        "movups [r8], xmm1",
        "ret",
        "2:",
        "mov rcx, rdx",
        "shr rcx, 3",
        "rep movsq",
        "mov ecx, edx",
        "and ecx, 7",
        "rep movsb",
        "ret",
        "3:",
        "cmp edx, 8",
        "jb 4f",
        "mov rcx, [rsi]",
        "mov r8, [rsi + rdx - 8]",
        "mov [rdi], rcx",
        "mov [rdi + rdx - 8], r8",
        "ret",
        "4:",
        "cmp edx, 4",
        "jb 6f",
        "mov ecx, [rsi]",
        "mov r8d, [rsi + rdx - 4]",
        "mov [rdi], ecx",
        "mov [rdi + rdx - 4], r8d",
        "ret",
        "6:",
        "mov ecx, edx",
        "rep movsb",
        "ret",
    )
}

/// Copies `n` octets between places that may overlap.
///
/// # Safety
/// The contract of memmove(3).
#[cfg_attr(not(test), unsafe(no_mangle))]
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
    naked_asm!(
        // Forward is right unless the target begins within the source.
        "mov rcx, rdi",
        "sub rcx, rsi",
        "cmp rcx, rdx",
        "jae 2f",
        "mov rax, rdi",
        "5:",
        "cmp rdx, 8",
        "jb 4f",
        "mov rcx, [rsi + rdx - 8]",
        "mov [rdi + rdx - 8], rcx",
        "sub rdx, 8",
        "jmp 5b",
        "4:",
        "test rdx, rdx",
        "jz 3f",
        "mov cl, [rsi + rdx - 1]",
        "mov [rdi + rdx - 1], cl",
        "dec rdx",
        "jmp 4b",
        "3:",
        "ret",
        // `memcpy` reads 16 octets ahead of what it writes, no more: right for a target that begins
        // at least that much before the source, or does not overlap it.
        "2:",
        "mov rax, rsi",
        "sub rax, rdi",
        "cmp rax, 16",
        "jae {memcpy}",
        "mov rax, rdi",
        "mov rcx, rdx",
        "rep movsb",
        "ret",
        memcpy = sym memcpy,
    )
}

/// Sets `n` octets.
///
/// # Safety
/// The contract of memset(3).
#[cfg_attr(not(test), unsafe(no_mangle))]
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn memset(to: *mut u8, value: i32, n: usize) -> *mut u8 {
    naked_asm!(
        "mov r8, rdi",
        "movzx eax, sil",
        "mov rcx, 0x0101010101010101",
        "imul rax, rcx",
        "mov rcx, rdx",
        "shr rcx, 3",
        "rep stosq",
        "mov ecx, edx",
        "and ecx, 7",
        "rep stosb",
        "mov rax, r8",
        "ret",
    )
}

/// Compares `n` octets.
///
/// # Safety
/// The contract of memcmp(3).
#[cfg_attr(not(test), unsafe(no_mangle))]
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    naked_asm!(
        "5:",
        "cmp rdx, 8",
        "jb 3f",
        "mov rax, [rdi]",
        "mov rcx, [rsi]",
        "cmp rax, rcx",
        "jne 2f",
        "add rdi, 8",
        "add rsi, 8",
        "sub rdx, 8",
        "jmp 5b",
        // The first octet in memory decides.
        "2:",
        "bswap rax",
        "bswap rcx",
        "cmp rax, rcx",
        "sbb eax, eax",
        "or eax, 1",
        "ret",
        "3:",
        "test rdx, rdx",
        "jz 4f",
        "movzx eax, byte ptr [rdi]",
        "movzx ecx, byte ptr [rsi]",
        "inc rdi",
        "inc rsi",
        "dec rdx",
        "sub eax, ecx",
        "jz 3b",
        "ret",
        "4:",
        "xor eax, eax",
        "ret",
    )
}

/// Tells whether `n` octets differ.
///
/// # Safety
/// The contract of bcmp(3).
#[cfg_attr(not(test), unsafe(no_mangle))]
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    naked_asm!("jmp {memcmp}", memcmp = sym memcmp)
}

/// Octets before the first NUL.
///
/// # Safety
/// The contract of strlen(3).
#[cfg_attr(not(test), unsafe(no_mangle))]
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn strlen(text: *const u8) -> usize {
    naked_asm!(
        "mov rax, rdi",
        "2:",
        "cmp byte ptr [rax], 0",
        "je 3f",
        "inc rax",
        "jmp 2b",
        "3:",
        "sub rax, rdi",
        "ret",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTHS: [usize; 16] = [0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 33, 100, 511, 513, 1500];

    fn pattern(len: usize) -> Vec<u8> {
        (0..len)
            .map(|n| u8::try_from(n * 7 % 251).expect("below 251"))
            .collect()
    }

    #[test]
    fn octets_move_as_if_through_a_copy() {
        for len in LENGTHS {
            for (to, from) in [
                (0, 1),
                (1, 0),
                (0, 8),
                (8, 0),
                (0, 15),
                (0, 16),
                (16, 0),
                (0, 1600),
                (1600, 3),
                (5, 5),
            ] {
                let mut octets = pattern(3200);
                let mut wanted = octets.clone();
                wanted.copy_within(from..from + len, to);
                let base = octets.as_mut_ptr();
                // SAFETY: both ranges lie in the vector.
                let end = unsafe { memmove(base.wrapping_add(to), base.wrapping_add(from), len) };
                assert_eq!(
                    (end, octets == wanted),
                    (base.wrapping_add(to), true),
                    "{len} {to} {from}"
                );
            }
        }
    }

    #[test]
    fn octets_are_copied_and_set() {
        for len in LENGTHS {
            let source = pattern(len);
            let mut target = vec![9; len + 2];
            let base = target.as_mut_ptr();
            // SAFETY: the target is longer, and another vector.
            let at = unsafe { memcpy(base.wrapping_add(1), source.as_ptr(), len) };
            assert_eq!(at, base.wrapping_add(1));
            assert_eq!(
                (target[0], &target[1..=len], target[len + 1]),
                (9, &source[..], 9)
            );
            // SAFETY: as before.
            let at = unsafe { memset(base.wrapping_add(1), 0x1a5, len) };
            assert_eq!(at, base.wrapping_add(1));
            assert!(target[1..=len].iter().all(|&octet| octet == 0xa5));
            assert_eq!((target[0], target[len + 1]), (9, 9));
        }
    }

    #[test]
    fn octets_compare_by_the_first_that_differs() {
        for len in LENGTHS {
            let one = pattern(len);
            let compare = |other: &[u8]| {
                // SAFETY: both are as long.
                unsafe { memcmp(one.as_ptr(), other.as_ptr(), len) }
            };
            assert_eq!(compare(&one), 0);
            for at in [0, len / 2, len.saturating_sub(1)]
                .into_iter()
                .filter(|&at| at < len)
            {
                let mut other = one.clone();
                other[at] = other[at].wrapping_add(1);
                assert_eq!(
                    compare(&other).signum(),
                    i32::from(one[at])
                        .wrapping_sub(i32::from(other[at]))
                        .signum()
                );
            }
        }
        // SAFETY: a literal with a NUL.
        assert_eq!(unsafe { strlen(c"synhop".as_ptr().cast()) }, 6);
    }
}
