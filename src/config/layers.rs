//! Reads the layers of a configuration: defaults, file, environment and flags, in ascending
//! precedence.
//!
//! Each layer parses its values with the table of keys. An invalid value is therefore rejected
//! while its origin is known, and figment merges only valid values.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use figment::value::{Dict, Map, Value};
use figment::{Error, Figment, Metadata, Profile, Provider};

use super::error::{ConfigError, nearest};
use super::keys::{KEYS, Key, OTHER_VARIABLES, PREFIX};
use super::origin::Origin;

/// The file that documents every setting and holds its default.
pub const DEFAULTS: &str = include_str!("default.toml");

/// The file that is read if none is named.
pub const USUAL_FILE: &str = "toolbridge.toml";

/// The largest file that is read; a configuration takes a few kilobytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The inputs of a configuration. They are passed in as values, so that tests do not depend on the
/// process environment.
#[derive(Debug, Default)]
pub struct Sources {
    pub environment: BTreeMap<String, String>,
    /// The directory that is searched for [`USUAL_FILE`].
    pub directory: PathBuf,
    /// The file that is named on the command line.
    pub file: Option<PathBuf>,
    pub flags: Vec<Flag>,
}

/// One setting from the command line.
#[derive(Debug, Clone)]
pub struct Flag {
    /// The flag as it was written: `--port`, `--set`.
    pub name: String,
    pub path: String,
    pub value: String,
}

impl Sources {
    /// Merges the layers. Fails on the first value that is invalid by itself.
    pub fn merge(&self) -> Result<Figment, ConfigError> {
        let mut figment = Figment::new();
        let (path, named_by) = self.file_name();
        let mut settings = from_text(DEFAULTS, Path::new("default.toml"), |_| Origin::Default)?;
        settings.extend(from_file(&path, named_by)?);
        settings.extend(from_environment(&self.environment)?);
        settings.extend(from_flags(&self.flags)?);
        for setting in settings {
            figment = figment.merge(setting);
        }
        Ok(figment)
    }

    /// The file to read, and the flag or variable that names it.
    fn file_name(&self) -> (PathBuf, Option<&'static str>) {
        if let Some(path) = &self.file {
            return (path.clone(), Some("--config"));
        }
        match self
            .environment
            .get("TOOLBRIDGE_CONFIG")
            .filter(|path| !path.trim().is_empty())
        {
            Some(path) => (PathBuf::from(path), Some("TOOLBRIDGE_CONFIG")),
            None => (self.directory.join(USUAL_FILE), None),
        }
    }
}

/// One value with its origin, as a figment provider of its own.
struct Setting {
    key: &'static Key,
    value: Value,
    origin: Origin,
}

impl Provider for Setting {
    fn metadata(&self) -> Metadata {
        (&self.origin).into()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let nested = figment::util::nest(self.key.path, self.value.clone());
        Ok(nested
            .into_dict()
            .map(|dict| Profile::Default.collect(dict))
            .unwrap_or_default())
    }
}

/// Reads a regular file of limited size. The type is checked before the file is opened, because
/// opening a pipe waits for a writer, and a device may have no end.
fn read(path: &Path) -> io::Result<String> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    match u64::try_from(text.len()) {
        Ok(length) if length <= MAX_FILE_BYTES => Ok(text),
        _ => Err(io::Error::other("it is larger than 1 MiB")),
    }
}

fn from_file(path: &Path, named_by: Option<&str>) -> Result<Vec<Setting>, ConfigError> {
    match read(path) {
        Ok(text) => from_text(&text, path, |path| Origin::File(path.to_owned())),
        // A dangling link is an error: it exists, so the file was meant to be read.
        Err(why) if why.kind() == io::ErrorKind::NotFound && path.symlink_metadata().is_err() => {
            match named_by {
                Some(named_by) => Err(ConfigError::FileMissing {
                    path: path.to_owned(),
                    named_by: named_by.to_owned(),
                }),
                None => Ok(Vec::new()),
            }
        }
        Err(why) => Err(ConfigError::FileUnreadable {
            path: path.to_owned(),
            why: why.to_string(),
        }),
    }
}

fn from_text(
    text: &str,
    path: &Path,
    origin: impl Fn(&Path) -> Origin,
) -> Result<Vec<Setting>, ConfigError> {
    let table: toml::Table = toml::from_str(text).map_err(|why| {
        let before = why
            .span()
            .and_then(|span| text.get(..span.start))
            .unwrap_or_default();
        ConfigError::NotToml {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            why: why.message().replace('\n', ", "),
        }
    })?;
    let origin = origin(path);
    let mut settings = Vec::new();
    from_section("", &table, &origin, &mut settings)?;
    Ok(settings)
}

/// Reads a section. Descends only into tables that the table of keys knows as sections.
fn from_section(
    path: &str,
    table: &toml::Table,
    origin: &Origin,
    into: &mut Vec<Setting>,
) -> Result<(), ConfigError> {
    let is_section = |path: &str| {
        let inside = |key: &Key| {
            key.path
                .strip_prefix(path)
                .is_some_and(|rest| rest.starts_with('.'))
        };
        KEYS.iter().any(inside)
    };
    for (name, value) in table {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        match value {
            toml::Value::Table(section) if is_section(&path) => {
                from_section(&path, section, origin, into)?
            }
            _ => into.extend(from_entry(&path, value, origin)?),
        }
    }
    Ok(())
}

fn from_entry(
    path: &str,
    value: &toml::Value,
    origin: &Origin,
) -> Result<Option<Setting>, ConfigError> {
    let Some(key) = Key::find(path) else {
        return Err(unknown_key(path, origin));
    };
    let value = key
        .read(value)
        .map_err(|problem| unusable(key, origin, problem))?;
    Ok(value.map(|value| Setting {
        key,
        value,
        origin: origin.clone(),
    }))
}

/// Reads the environment, key by key, so that the error that is reported first does not depend on
/// the order of the variables.
fn from_environment(environment: &BTreeMap<String, String>) -> Result<Vec<Setting>, ConfigError> {
    refuse_unknown_variables(environment)?;
    let mut settings = Vec::new();
    for key in KEYS {
        let mut first: Option<(String, Value)> = None;
        for variable in key.variables() {
            let Some(text) = environment.get(&variable) else {
                continue;
            };
            let origin = Origin::Environment(variable.clone());
            let value = key
                .read_text(text)
                .map_err(|problem| unusable(key, &origin, problem))?;
            let Some(value) = value else { continue };
            match &first {
                Some((_, before)) if *before == value => {}
                // With token exchange, the API has an audience of its own and reads `JWT_AUDIENCE`,
                // so the two names may differ.
                Some(_) if key.path == "auth.audience" && exchanges(environment) => {}
                Some((before, _)) => {
                    return Err(ConfigError::NamesDisagree {
                        key: key.path,
                        first: before.clone(),
                        second: variable,
                    });
                }
                None => first = Some((variable, value)),
            }
        }
        settings.extend(first.map(|(name, value)| Setting {
            key,
            value,
            origin: Origin::Environment(name),
        }));
    }
    Ok(settings)
}

fn exchanges(environment: &BTreeMap<String, String>) -> bool {
    environment
        .get("TOOLBRIDGE_AUTH_MODE")
        .is_some_and(|mode| mode == "exchange")
}

fn refuse_unknown_variables(environment: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    let mut known: Vec<String> = KEYS.iter().flat_map(Key::variables).collect();
    known.extend(OTHER_VARIABLES.iter().map(|name| (*name).to_owned()));
    let unknown = environment
        .keys()
        .find(|name| name.starts_with(PREFIX) && !known.contains(name));
    match unknown {
        Some(name) => Err(ConfigError::UnknownVariable {
            name: name.clone(),
            nearest: nearest(name, known.iter().map(String::as_str)),
        }),
        None => Ok(()),
    }
}

fn from_flags(flags: &[Flag]) -> Result<Vec<Setting>, ConfigError> {
    let mut settings = Vec::new();
    for flag in flags {
        let origin = Origin::Flag(flag.name.clone());
        let Some(key) = Key::find(&flag.path) else {
            return Err(unknown_key(&flag.path, &origin));
        };
        if key.is_secret() {
            return Err(ConfigError::SecretOnCommandLine {
                key: key.path,
                flag: flag.name.clone(),
                variable: key.variable(),
            });
        }
        let value = key
            .read_text(&flag.value)
            .map_err(|problem| unusable(key, &origin, problem))?;
        settings.extend(value.map(|value| Setting { key, value, origin }));
    }
    Ok(settings)
}

fn unknown_key(path: &str, origin: &Origin) -> ConfigError {
    let nearest = nearest(path, KEYS.iter().map(|key| key.path)).or_else(|| {
        KEYS.iter()
            .find(|key| key.leaf() == path)
            .map(|key| key.path.to_owned())
    });
    ConfigError::UnknownKey {
        key: path.to_owned(),
        origin: origin.clone(),
        nearest,
    }
}

fn unusable(key: &'static Key, origin: &Origin, problem: super::error::Problem) -> ConfigError {
    ConfigError::Unusable {
        key: key.path,
        origin: origin.clone(),
        problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layer_enforces_the_bounds() {
        for (path, low, enough) in [
            ("server.max_body_bytes", "1023", "1KiB"),
            ("api.max_answer_bytes", "0", "64KiB"),
            ("tools.max_result_bytes", "4095", "4KiB"),
            ("tenant.id", &*"x".repeat(256), &*"x".repeat(255)),
        ] {
            let flag = |value: &str| Flag {
                name: "--set".to_owned(),
                path: path.to_owned(),
                value: value.to_owned(),
            };
            assert!(from_flags(&[flag(low)]).is_err(), "{path}");
            assert!(from_flags(&[flag(enough)]).is_ok(), "{path}");
            let (section, leaf) = path.split_once('.').unwrap();
            let text = format!("[{section}]\n{leaf} = \"{low}\"");
            assert!(
                from_text(&text, Path::new("x"), |_| Origin::Default).is_err(),
                "{path}"
            );
        }
    }

    #[test]
    fn only_a_regular_file_of_moderate_size_is_read() {
        let directory =
            std::env::temp_dir().join(format!("toolbridge-layers-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let (dangling, large) = (directory.join("dangling"), directory.join("large"));
        let _ = std::fs::remove_file(&dangling);
        std::os::unix::fs::symlink(directory.join("nowhere"), &dangling).unwrap();
        std::fs::write(&large, "#".repeat((1 << 20) + 1)).unwrap();
        for path in [Path::new("/dev/zero"), &directory, &dangling, &large] {
            assert!(
                matches!(
                    from_file(path, None),
                    Err(ConfigError::FileUnreadable { .. })
                ),
                "{}",
                path.display()
            );
        }
        assert!(
            from_file(&directory.join("absent"), None)
                .unwrap()
                .is_empty()
        );
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
