//! Reads manifests: files, directories, standard input; several documents, lists.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use serde_json::Value;

/// Largest manifest file: what an API server would accept in one request, many times over.
const FILE_LIMIT: u64 = 32 << 20;

/// One object and where it was found, for messages.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    /// File name, `-` for standard input.
    pub(crate) source: String,
    /// The object as written.
    pub(crate) object: Value,
}

/// Why manifests could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManifestError {
    #[error("cannot read {path}")]
    Read { path: String, source: io::Error },
    #[error("{path} is larger than {} MiB", FILE_LIMIT >> 20)]
    TooLarge { path: String },
    #[error("{path}: {message}")]
    Syntax { path: String, message: String },
    #[error("{path} holds no .yaml, .yml or .json file")]
    EmptyDirectory { path: String },
    #[error("{path} holds no object")]
    Empty { path: String },
}

/// Reads all documents in the order given; directories in the order of their file names, as kubectl does.
pub(crate) fn read_all(paths: &[PathBuf]) -> Result<Vec<Document>, ManifestError> {
    let mut documents = Vec::new();
    for path in paths {
        if path == Path::new("-") {
            documents.extend(parse("-", &read_limited("-", io::stdin())?)?);
        } else if path.is_dir() {
            for file in files_of(path)? {
                documents.extend(read_file(&file)?);
            }
        } else {
            documents.extend(read_file(path)?);
        }
    }
    Ok(documents)
}

/// Parses the text of one source.
pub(crate) fn parse(source: &str, text: &str) -> Result<Vec<Document>, ManifestError> {
    let objects = apimachinery::decode::yaml(text)
        .map_err(|error| ManifestError::Syntax { path: source.to_owned(), message: error.to_string() })?;
    if objects.is_empty() {
        return Err(ManifestError::Empty { path: source.to_owned() });
    }
    Ok(objects.into_iter().map(|object| Document { source: source.to_owned(), object }).collect())
}

fn read_file(path: &Path) -> Result<Vec<Document>, ManifestError> {
    let name = path.display().to_string();
    let file = fs::File::open(path).map_err(|source| ManifestError::Read { path: name.clone(), source })?;
    parse(&name, &read_limited(&name, file)?)
}

fn files_of(directory: &Path) -> Result<Vec<PathBuf>, ManifestError> {
    let path = directory.display().to_string();
    let entries = fs::read_dir(directory).map_err(|source| ManifestError::Read { path: path.clone(), source })?;
    let is_manifest = |file: &PathBuf| {
        file.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
    };
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_manifest).collect();
    files.sort();
    if files.is_empty() { Err(ManifestError::EmptyDirectory { path }) } else { Ok(files) }
}

fn read_limited(path: &str, input: impl io::Read) -> Result<String, ManifestError> {
    let mut bytes = Vec::new();
    input
        .take(FILE_LIMIT + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| ManifestError::Read { path: path.to_owned(), source })?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > FILE_LIMIT {
        return Err(ManifestError::TooLarge { path: path.to_owned() });
    }
    String::from_utf8(bytes)
        .map_err(|_| ManifestError::Syntax { path: path.to_owned(), message: "not UTF-8 text".into() })
}
