//! Makes the tables behind `schema`: types, fields and texts of the API from the schemas of `k8s-openapi`, and what
//! those do not say from `src/schema/facts.txt`.
//!
//! Done at build time so that the program holds plain tables and one compressed text instead of the code for each type.

mod definitions;
mod facts;
mod numbers;
mod roots;

use std::{env, error::Error, fs, io::Write, path::Path};

use flate2::{Compression, write::DeflateEncoder};

const FACTS: &str = "src/schema/facts.txt";
const NUMBERS: &str = "src/protobuf/numbers.txt";

fn main() -> Result<(), Box<dyn Error>> {
    report("cargo::rerun-if-changed=build");
    report(&format!("cargo::rerun-if-changed={FACTS}"));
    report(&format!("cargo::rerun-if-changed={NUMBERS}"));
    let facts = facts::parse(&fs::read_to_string(FACTS)?)?;
    let tables = definitions::Tables::new(&roots::collect(), facts, numbers::parse(&fs::read_to_string(NUMBERS)?)?)?;
    let out = env::var("OUT_DIR")?;
    fs::write(Path::new(&out).join("definitions.rs"), tables.rust())?;
    let mut texts = DeflateEncoder::new(Vec::new(), Compression::best());
    texts.write_all(tables.texts().as_bytes())?;
    fs::write(Path::new(&out).join("texts.deflate"), texts.finish()?)?;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]
fn report(instruction: &str) {
    println!("{instruction}");
}
