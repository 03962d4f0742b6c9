//! Credentials where the providers' own tools keep them, beside the environment: of AWS the files
//! `credentials` and `config` with their profiles. Those of Google and Azure are found by
//! `object_store` itself; here it is only seen whether there can be any, so that who has none is told
//! where was looked, instead of waiting for a service of a machine that this is not.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What is asked of the environment and the machine.
pub(super) struct Around<'a> {
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    pub home: Option<PathBuf>,
    /// Who made this machine, as it says of itself.
    pub vendor: String,
}

impl Around<'_> {
    fn path(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        let said = (self.variable)(variable).map(PathBuf::from);
        said.or_else(|| Some(self.home.as_ref()?.join(below_home)))
    }

    fn is_said(&self, variables: &[&str]) -> bool {
        let said = |name: &&str| (self.variable)(name).is_some_and(|value| !value.is_empty());
        variables.iter().any(said)
    }
}

/// Variables with which AWS is told who asks.
const AWS: [&str; 5] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",
];
const GOOGLE: [&str; 5] = [
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_PATH",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_SKIP_SIGNATURE",
];
const AZURE: [&str; 9] = [
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_SAS_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_TOKEN",
    "AZURE_STORAGE_CLIENT_ID",
    "AZURE_CLIENT_ID",
    "AZURE_USE_AZURE_CLI",
    "AZURE_SKIP_SIGNATURE",
];

/// What the files of AWS say that the environment does not, by the names that `object_store` knows.
///
/// # Errors
/// There is nothing, and this is no machine of theirs: where was looked.
pub(super) fn aws(around: &Around<'_>) -> Result<Vec<(&'static str, String)>, String> {
    let named =
        (around.variable)("AWS_PROFILE").or_else(|| (around.variable)("AWS_DEFAULT_PROFILE"));
    let profile = named.unwrap_or_else(|| "default".to_owned());
    let secrets = around.path("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials");
    let config = around.path("AWS_CONFIG_FILE", ".aws/config");
    let mut said = BTreeMap::new();
    for (file, section) in [
        (&config, format!("profile {profile}")),
        (&config, profile.clone()),
        (&secrets, profile.clone()),
    ] {
        let text = file.as_ref().and_then(|file| fs::read_to_string(file).ok());
        said.extend(in_section(&text.unwrap_or_default(), &section));
    }
    let mut found = Vec::new();
    if !around.is_said(&AWS) {
        match (
            said.get("aws_access_key_id"),
            said.get("aws_secret_access_key"),
        ) {
            (Some(id), Some(secret)) => {
                found.push(("aws_access_key_id", id.clone()));
                found.push(("aws_secret_access_key", secret.clone()));
                if let Some(token) = said.get("aws_session_token") {
                    found.push(("aws_session_token", token.clone()));
                }
            }
            _ if around.vendor.contains("Amazon") => {}
            _ => {
                return Err(format!(
                    "no credentials: looked for AWS_ACCESS_KEY_ID in the environment, and for the \
                     profile {profile} in {} and {}",
                    shown(secrets.as_deref()),
                    shown(config.as_deref())
                ));
            }
        }
    }
    for (name, variables) in [
        ("region", &["AWS_REGION", "AWS_DEFAULT_REGION"][..]),
        (
            "endpoint_url",
            &["AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"][..],
        ),
    ] {
        if let (Some(value), false) = (said.get(name), around.is_said(variables)) {
            let key = if name == "region" {
                "aws_region"
            } else {
                "aws_endpoint"
            };
            found.push((key, value.clone()));
        }
    }
    Ok(found)
}

/// That Google can be told who asks.
///
/// # Errors
/// Where was looked.
pub(super) fn google(around: &Around<'_>) -> Result<(), String> {
    let file = ".config/gcloud/application_default_credentials.json";
    let file = around.home.as_ref().map(|home| home.join(file));
    let is_there = file.as_ref().is_some_and(|file| file.is_file());
    if is_there || around.is_said(&GOOGLE) || around.vendor.contains("Google") {
        return Ok(());
    }
    Err(format!(
        "no credentials: looked for GOOGLE_APPLICATION_CREDENTIALS and GOOGLE_SERVICE_ACCOUNT in the \
         environment, and for {} (gcloud auth application-default login writes it)",
        shown(file.as_deref())
    ))
}

/// That Azure can be told who asks.
///
/// # Errors
/// Where was looked.
pub(super) fn azure(around: &Around<'_>) -> Result<(), String> {
    if around.is_said(&AZURE) || around.vendor.contains("Microsoft") {
        return Ok(());
    }
    Err(
        "no credentials: looked for AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_KEY and \
         AZURE_STORAGE_CLIENT_ID in the environment; AZURE_USE_AZURE_CLI=true takes those of az login"
            .to_owned(),
    )
}

fn shown(path: Option<&Path>) -> String {
    match path {
        Some(path) => path.display().to_string(),
        None => "no home folder".to_owned(),
    }
}

/// The lines `NAME = VALUE` of one section.
fn in_section(text: &str, section: &str) -> BTreeMap<String, String> {
    let mut said = BTreeMap::new();
    let mut within = false;
    for line in text.lines() {
        let bare = line.trim();
        if let Some(name) = bare
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            within = name.split_whitespace().eq(section.split_whitespace());
        } else if within
            // What is set in is of what stands above it.
            && !line.starts_with([' ', '\t', '#', ';'])
            && let Some((name, value)) = bare.split_once('=')
        {
            said.insert(name.trim().to_lowercase(), value.trim().to_owned());
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Machine {
        home: tempfile::TempDir,
        variables: Vec<(&'static str, String)>,
        vendor: &'static str,
    }

    impl Machine {
        fn new() -> Machine {
            let home = tempfile::tempdir().unwrap();
            fs::create_dir_all(home.path().join(".aws")).unwrap();
            fs::create_dir_all(home.path().join(".config/gcloud")).unwrap();
            Machine {
                home,
                variables: Vec::new(),
                vendor: "QEMU",
            }
        }

        fn asked<T>(&self, ask: impl Fn(&Around<'_>) -> T) -> T {
            let variable = |name: &str| {
                let found = self.variables.iter().find(|(own, _)| *own == name);
                found.map(|(_, value)| value.clone())
            };
            ask(&Around {
                variable: &variable,
                home: Some(self.home.path().to_owned()),
                vendor: self.vendor.to_owned(),
            })
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.home.path().join(name), text).unwrap();
        }
    }

    fn of(found: &[(&'static str, String)], name: &str) -> Option<String> {
        let found = found.iter().find(|(own, _)| *own == name);
        found.map(|(_, value)| value.clone())
    }

    #[test]
    fn the_profile_of_the_files_is_taken_where_the_environment_says_nothing() {
        let mut machine = Machine::new();
        machine.write(
            ".aws/credentials",
            "# mine\n[default]\naws_access_key_id = one\naws_secret_access_key=s1\n\n[work]\n\
             aws_access_key_id=two\naws_secret_access_key = s2=\naws_session_token=t\n",
        );
        machine.write(
            ".aws/config",
            "[default]\nregion = here\ns3 =\n  region = never\n[profile work]\nregion=there\n\
             endpoint_url = https://e\n",
        );
        let found = machine.asked(aws).unwrap();
        assert_eq!(of(&found, "aws_access_key_id").as_deref(), Some("one"));
        assert_eq!(of(&found, "aws_region").as_deref(), Some("here"));
        assert_eq!(of(&found, "aws_session_token"), None);
        machine.variables.push(("AWS_PROFILE", "work".to_owned()));
        let found = machine.asked(aws).unwrap();
        assert_eq!(of(&found, "aws_secret_access_key").as_deref(), Some("s2="));
        assert_eq!(of(&found, "aws_session_token").as_deref(), Some("t"));
        assert_eq!(of(&found, "aws_region").as_deref(), Some("there"));
        assert_eq!(of(&found, "aws_endpoint").as_deref(), Some("https://e"));
        // What the environment says goes before.
        machine
            .variables
            .push(("AWS_ACCESS_KEY_ID", "three".to_owned()));
        machine.variables.push(("AWS_REGION", "nowhere".to_owned()));
        let found = machine.asked(aws).unwrap();
        assert_eq!(of(&found, "aws_access_key_id"), None);
        assert_eq!(of(&found, "aws_region"), None);
    }

    #[test]
    fn who_has_none_is_told_where_was_looked() {
        let mut machine = Machine::new();
        let error = machine.asked(aws).unwrap_err();
        for named in [
            "AWS_ACCESS_KEY_ID",
            "profile default",
            ".aws/credentials",
            ".aws/config",
        ] {
            assert!(error.contains(named), "{error}");
        }
        let error = machine.asked(google).unwrap_err();
        assert!(
            error.contains("application_default_credentials.json"),
            "{error}"
        );
        let error = machine.asked(azure).unwrap_err();
        assert!(error.contains("AZURE_STORAGE_ACCOUNT_KEY"), "{error}");
        // A machine of theirs may know by itself.
        machine.vendor = "Amazon EC2";
        assert_eq!(machine.asked(aws), Ok(Vec::new()));
        machine.vendor = "Google";
        assert_eq!(machine.asked(google), Ok(()));
        machine.vendor = "QEMU";
        machine.write(".config/gcloud/application_default_credentials.json", "{}");
        assert_eq!(machine.asked(google), Ok(()));
        machine
            .variables
            .push(("AZURE_USE_AZURE_CLI", "true".to_owned()));
        assert_eq!(machine.asked(azure), Ok(()));
    }
}
