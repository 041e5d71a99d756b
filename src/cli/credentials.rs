//! The token that `call`, `stdio` and `doctor` present: from a file, from the environment, or
//! generated.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::CommandContext;
use super::exit::{CliError, Exit};
use super::token::{Claims, mint};
use crate::config::Config;
use crate::foundation::secret::Secret;

#[derive(Debug, Args)]
#[command(next_help_heading = "Who calls")]
pub struct Credentials {
    /// Read the token from a file [otherwise: TOOLBRIDGE_TOKEN]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Make a short-lived token for this user with the configured HS256 secret
    #[arg(
        long = "as",
        value_name = "SUB",
        conflicts_with = "token_file",
        value_parser = clap::builder::NonEmptyStringValueParser::new()
    )]
    act_as: Option<String>,
}

impl Credentials {
    /// `lifetime` applies to a generated token.
    pub fn token(
        &self,
        config: &Config,
        lifetime: Duration,
        context: &CommandContext,
    ) -> Result<Secret, CliError> {
        if let Some(sub) = &self.act_as {
            return mint(config, &Claims::of(sub, lifetime), context.now);
        }
        self.given(context)?.ok_or_else(|| {
            CliError::because(
                Exit::NoPermission,
                "there is no token: set TOOLBRIDGE_TOKEN, or pass --token-file FILE, or --as SUB \
                 where an HS256 secret is configured.",
            )
        })
    }

    /// Whether a token is to be generated, which needs the configuration.
    pub fn make_one(&self) -> bool {
        self.act_as.is_some()
    }

    /// The token of the file or the environment, if there is one.
    pub fn given(&self, context: &CommandContext) -> Result<Option<Secret>, CliError> {
        let text = match &self.token_file {
            Some(path) => {
                let unusable = |why: String| {
                    CliError::because(
                        Exit::NoPermission,
                        format!("the token file {} {why}.", path.display()),
                    )
                };
                let text = std::fs::read_to_string(path)
                    .map_err(|why| unusable(format!("cannot be read ({why})")))?;
                if text.trim().is_empty() {
                    return Err(unusable("is empty".to_owned()));
                }
                text
            }
            None => context
                .environment
                .get("TOOLBRIDGE_TOKEN")
                .cloned()
                .unwrap_or_default(),
        };
        Ok(Some(text.trim())
            .filter(|token| !token.is_empty())
            .map(Secret::new))
    }

    /// The flags as given, for a suggested command line.
    pub fn words(&self) -> Vec<String> {
        let file = self
            .token_file
            .as_ref()
            .map(|path| path.display().to_string());
        [("--as", self.act_as.clone()), ("--token-file", file)]
            .into_iter()
            .filter_map(|(flag, value)| Some([flag.to_owned(), value?]))
            .flatten()
            .collect()
    }
}
