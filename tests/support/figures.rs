//! The line of figures that a program ends with: printed, and kept in `target/figures/`, since a test
//! that passes is not heard. docs/reliability.md quotes them.

#![allow(dead_code, reason = "shared by test binaries; each uses a part")]

use std::path::PathBuf;

pub fn tell(program: &str, figures: &str) {
    println!("{program}: {figures}");
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/figures");
    let file = folder.join(program.replace(' ', "-"));
    std::fs::create_dir_all(folder).expect("a folder for figures");
    std::fs::write(file, format!("{program}: {figures}\n")).expect("the figures are kept");
}
