//! An image without anything from elsewhere, for the examples: its one program greets, writes its environment, and the
//! content of each file that it is given.
//!
//! Its command is `/demo/hello.txt`, which isn't there: a layer that brings it shows up in the output.

use std::error::Error;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use tower_oci::hosted::Memory;
use tower_oci::spec::digest::Digest;
use tower_oci::spec::image::Descriptor;
use tower_oci::spec::json::{Object, Raw};
use tower_oci::spec::media_type::MediaType;
use tower_oci::spec::name::Repository;

/// The repository of the demo image.
pub(crate) const REPOSITORY: &str = "demo/hello";

/// Its tag.
pub(crate) const TAG: &str = "latest";

/// The file that its program looks for when it is given no other.
pub(crate) const FILE: &str = "demo/hello.txt";

/// Puts the demo image into a registry as `demo/hello:latest`, and answers its digest. It is an index with one entry,
/// for `linux/amd64`.
pub(crate) fn push(registry: &Memory) -> Result<Digest, Box<dyn Error + Send + Sync>> {
    let repository: Repository = REPOSITORY.parse()?;
    let tar = layer()?;
    let diff_id = Digest::sha256(&tar);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    std::io::Write::write_all(&mut gzip, &tar)?;
    let layer = registry.push_blob(&repository, MediaType::OCI_LAYER_GZIP, gzip.finish()?)?;
    let config = registry.push_blob(&repository, MediaType::OCI_CONFIG, config(&diff_id))?;

    let manifest = document([
        ("mediaType", Raw::of(&MediaType::OCI_MANIFEST)),
        ("config", config.object().to_raw()),
        ("layers", Raw::list([&layer.object().to_raw()])),
    ]);
    let reference = Digest::sha256(&manifest).into();
    registry.push_manifest(&repository, &reference, MediaType::OCI_MANIFEST, manifest.clone())?;

    let mut platform = Object::new();
    platform.set("architecture", Raw::of("amd64"));
    platform.set("os", Raw::of("linux"));
    let entry = Descriptor::of(MediaType::OCI_MANIFEST, &manifest).with_member("platform", platform.to_raw());
    let index = document([
        ("mediaType", Raw::of(&MediaType::OCI_INDEX)),
        ("manifests", Raw::list([&entry.object().to_raw()])),
    ]);
    Ok(registry.push_manifest(&repository, &TAG.parse()?, MediaType::OCI_INDEX, index)?)
}

fn document<const N: usize>(members: [(&'static str, Raw); N]) -> Bytes {
    let mut document = Object::new();
    document.set("schemaVersion", Raw::of(&2));
    for (key, value) in members {
        document.set(key, value);
    }
    document.to_raw().bytes().clone()
}

fn config(diff_id: &Digest) -> String {
    format!(
        concat!(
            r#"{{"architecture":"amd64","os":"linux","#,
            r#""config":{{"Env":["PATH=/"],"Entrypoint":["/hello"],"Cmd":["/{file}"],"WorkingDir":"/"}},"#,
            r#""rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}},"#,
            r#""history":[{{"created":"1970-01-01T00:00:00Z","created_by":"demo"}}]}}"#
        ),
        file = FILE,
        diff_id = diff_id
    )
}

/// A tar with the program alone.
fn layer() -> std::io::Result<Vec<u8>> {
    let mut header = tar::Header::new_ustar();
    header.set_size(HELLO.len() as u64);
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_data(&mut header, "hello", HELLO)?;
    tar.into_inner()
}

// The program, a static executable for Linux on x86-64 without a library. This is its source; it was assembled with
// `as --64 hello.s -o hello.o && ld --oformat binary -e 0 -Ttext=0x400000 hello.o -o hello`.
//
//           .intel_syntax noprefix
//           .set    base, 0x400000
//   elf:    .byte   0x7f, 'E', 'L', 'F', 2, 1, 1, 0         # 64 bits, little endian
//           .quad   0
//           .short  2, 62                                   # executable, x86-64
//           .long   1
//           .quad   base + start - elf, load - elf, 0
//           .long   0
//           .short  64, 56, 2, 64, 0, 0
//   load:   .long   1, 5                                    # PT_LOAD, readable and executable
//           .quad   0, base, base, end - elf, end - elf, 0x1000
//   stack:  .long   0x6474e551, 6                           # PT_GNU_STACK, not executable
//           .quad   0, 0, 0, 0, 0, 16
//   start:  mov     rax, [rsp]                              # argc
//           lea     r12, [rsp + 16]                         # argv[1]
//           lea     r13, [rsp + rax * 8 + 16]               # envp
//           sub     rsp, 4096                               # a buffer
//           lea     rsi, [rip + hello]
//           mov     edx, absent - hello
//           call    write
//   env:    mov     rsi, [r13]                              # each variable on a line
//           add     r13, 8
//           test    rsi, rsi
//           jz      file
//           call    print
//           lea     rsi, [rip + end - 1]
//           mov     edx, 1
//           call    write
//           jmp     env
//   file:   mov     rbx, [r12]                              # the content of each file
//           add     r12, 8
//           test    rbx, rbx
//           jz      exit
//           mov     rdi, rbx
//           xor     esi, esi
//           mov     eax, 2                                  # open(path, O_RDONLY)
//           syscall
//           mov     r14, rax
//           test    rax, rax
//           js      none
//   read:   mov     rdi, r14
//           mov     rsi, rsp
//           mov     edx, 4096
//           xor     eax, eax                                # read(file, buffer, 4096)
//           syscall
//           test    rax, rax
//           jle     file
//           mov     rdx, rax
//           call    write
//           jmp     read
//   none:   mov     rsi, rbx
//           call    print
//           lea     rsi, [rip + absent]
//           mov     edx, end - absent
//           call    write
//           jmp     file
//   exit:   xor     edi, edi
//           mov     eax, 60                                 # exit(0)
//           syscall
//   print:  xor     edx, edx                                # writes the text at rsi
//   next:   cmp     byte ptr [rsi + rdx], 0
//           je      write
//           inc     edx
//           jmp     next
//   write:  mov     edi, 1                                  # writes rdx bytes at rsi
//           mov     eax, 1                                  # write(1, rsi, rdx)
//           syscall
//           ret
//   hello:  .ascii  "Hello from the demo image.\n"
//   absent: .ascii  " is not there\n"
//   end:
#[rustfmt::skip]
const HELLO: &[u8] = &[
    0x7f, 0x45, 0x4c, 0x46, 0x02, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x02, 0x00, 0x3e, 0x00, 0x01, 0x00, 0x00, 0x00, 0xb0, 0x00, 0x40, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x40, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x40, 0x00, 0x38, 0x00, 0x02, 0x00, 0x40, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x01, 0x00, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x40, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x40, 0x00, 0x00, 0x00, 0x00, 0x00,
    0xa0, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xa0, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x51, 0xe5, 0x74, 0x64, 0x06, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x48, 0x8b, 0x04, 0x24, 0x4c, 0x8d, 0x64, 0x24, 0x10, 0x4c, 0x8d, 0x6c, 0xc4, 0x10, 0x48, 0x81,
    0xec, 0x00, 0x10, 0x00, 0x00, 0x48, 0x8d, 0x35, 0xab, 0x00, 0x00, 0x00, 0xba, 0x1b, 0x00, 0x00,
    0x00, 0xe8, 0x94, 0x00, 0x00, 0x00, 0x49, 0x8b, 0x75, 0x00, 0x49, 0x83, 0xc5, 0x08, 0x48, 0x85,
    0xf6, 0x74, 0x18, 0xe8, 0x76, 0x00, 0x00, 0x00, 0x48, 0x8d, 0x35, 0xb0, 0x00, 0x00, 0x00, 0xba,
    0x01, 0x00, 0x00, 0x00, 0xe8, 0x71, 0x00, 0x00, 0x00, 0xeb, 0xdb, 0x49, 0x8b, 0x1c, 0x24, 0x49,
    0x83, 0xc4, 0x08, 0x48, 0x85, 0xdb, 0x74, 0x4d, 0x48, 0x89, 0xdf, 0x31, 0xf6, 0xb8, 0x02, 0x00,
    0x00, 0x00, 0x0f, 0x05, 0x49, 0x89, 0xc6, 0x48, 0x85, 0xc0, 0x78, 0x1e, 0x4c, 0x89, 0xf7, 0x48,
    0x89, 0xe6, 0xba, 0x00, 0x10, 0x00, 0x00, 0x31, 0xc0, 0x0f, 0x05, 0x48, 0x85, 0xc0, 0x7e, 0xcb,
    0x48, 0x89, 0xc2, 0xe8, 0x32, 0x00, 0x00, 0x00, 0xeb, 0xe2, 0x48, 0x89, 0xde, 0xe8, 0x1c, 0x00,
    0x00, 0x00, 0x48, 0x8d, 0x35, 0x49, 0x00, 0x00, 0x00, 0xba, 0x0e, 0x00, 0x00, 0x00, 0xe8, 0x17,
    0x00, 0x00, 0x00, 0xeb, 0xa6, 0x31, 0xff, 0xb8, 0x3c, 0x00, 0x00, 0x00, 0x0f, 0x05, 0x31, 0xd2,
    0x80, 0x3c, 0x16, 0x00, 0x74, 0x04, 0xff, 0xc2, 0xeb, 0xf6, 0xbf, 0x01, 0x00, 0x00, 0x00, 0xb8,
    0x01, 0x00, 0x00, 0x00, 0x0f, 0x05, 0xc3, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x20, 0x66, 0x72, 0x6f,
    0x6d, 0x20, 0x74, 0x68, 0x65, 0x20, 0x64, 0x65, 0x6d, 0x6f, 0x20, 0x69, 0x6d, 0x61, 0x67, 0x65,
    0x2e, 0x0a, 0x20, 0x69, 0x73, 0x20, 0x6e, 0x6f, 0x74, 0x20, 0x74, 0x68, 0x65, 0x72, 0x65, 0x0a,
];
