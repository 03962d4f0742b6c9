//! Objects by name: put a new one, get, list, delete. Behind it a folder or a provider, reached
//! through the crate `object_store`; a call here waits for its end. Or this program
//! on another machine (`remote`).

use super::credentials::{self, Around};
use super::limit::{Limit, Rate};
use super::remote::{Remote, Told};
use super::{ArchiveError, Result};
use crate::limits;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, Checksum};
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{Error as Fault, ObjectStore, ObjectStoreExt, ObjectStoreScheme, PutMode};
use object_store::{PutOptions, PutPayload};
use parking_lot::RwLock;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;
use url::Url;

/// A place for objects.
pub struct Objects {
    way: Way,
    place: String,
    /// The place itself confirms what it was given; otherwise it has to be read again.
    checks_uploads: bool,
    /// How long an answer is waited for; `None`: as long as the provider's own client does.
    patience: Option<Duration>,
    /// How fast it is sent to; `None`: as fast as it takes.
    limit: RwLock<Option<Arc<Limit>>>,
    /// It was told that something stays there.
    keeps: AtomicBool,
}

/// How it is reached.
enum Way {
    Provider(Provider),
    /// This program on another machine.
    Remote(Remote),
}

/// A folder or a provider.
struct Provider {
    store: Arc<dyn ObjectStore>,
    prefix: ObjectPath,
    runtime: Runtime,
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Objects {
    /// Opens a place: `file:///FOLDER` or a path, `ssh://HOST/FOLDER`, `s3://BUCKET/PREFIX`, `gs://`,
    /// `az://`. Credentials
    /// and endpoints come from the environment (AWS_*, GOOGLE_*, AZURE_*), or from the files in which
    /// the providers' own tools keep them (`credentials`).
    ///
    /// # Errors
    /// It is no such place; with `create` a folder is made.
    pub fn open(url: &str, create: bool) -> Result<Objects> {
        let bad = |reason: String| ArchiveError::Url {
            url: url.to_owned(),
            reason,
        };
        let parsed = match Url::parse(url) {
            Ok(parsed) if !parsed.cannot_be_a_base() => parsed,
            _ if url.contains("://") => return Err(bad("it can't be read as a URL".to_owned())),
            _ => return Objects::folder(Path::new(url), create).map_err(bad),
        };
        if parsed.scheme() == "file" {
            let path = parsed.to_file_path();
            let path = path.map_err(|()| bad("write file:///FOLDER".to_owned()))?;
            return Objects::folder(&path, create).map_err(bad);
        }
        if parsed.scheme() == "ssh" {
            return Ok(Objects {
                way: Way::Remote(Remote::new(&parsed, create).map_err(bad)?),
                place: url.to_owned(),
                checks_uploads: false,
                patience: None,
                limit: RwLock::default(),
                keeps: AtomicBool::default(),
            });
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            let reason = "a secret in a URL is seen by everybody; put it into the environment";
            return Err(bad(reason.to_owned()));
        }
        let variables: Vec<(String, String)> = std::env::vars()
            .filter(|(name, _)| {
                ["AWS_", "GOOGLE_", "AZURE_"]
                    .iter()
                    .any(|start| name.starts_with(start))
            })
            .map(|(name, value)| (name.to_lowercase(), value))
            .collect();
        let fault = |error: Fault| bad(error.to_string());
        let (scheme, prefix) =
            ObjectStoreScheme::parse(&parsed).map_err(|error| bad(error.to_string()))?;
        let variable = |name: &str| std::env::var(name).ok();
        let around = Around {
            variable: &variable,
            home: variable("HOME").map(PathBuf::from),
            // Not there: of nobody.
            vendor: std::fs::read_to_string("/sys/class/dmi/id/sys_vendor").unwrap_or_default(),
        };
        match scheme {
            ObjectStoreScheme::GoogleCloudStorage => credentials::google(&around).map_err(bad)?,
            ObjectStoreScheme::MicrosoftAzure => credentials::azure(&around).map_err(bad)?,
            _ => {}
        }
        if scheme == ObjectStoreScheme::AmazonS3 {
            let mut builder = AmazonS3Builder::new()
                .with_url(url)
                .with_checksum_algorithm(Checksum::SHA256);
            for (name, value) in credentials::aws(&around).map_err(bad)? {
                if let Ok(key) = name.parse::<AmazonS3ConfigKey>() {
                    builder = builder.with_config(key, value);
                }
            }
            for (name, value) in variables {
                if let Ok(key) = name.parse::<AmazonS3ConfigKey>() {
                    builder = builder.with_config(key, value);
                }
            }
            let store = Arc::new(builder.build().map_err(fault)?);
            return Objects::of(store, prefix, url, true).map_err(bad);
        }
        let (store, prefix) = object_store::parse_url_opts(&parsed, variables).map_err(fault)?;
        Objects::of(store.into(), prefix, url, false).map_err(bad)
    }

    /// What is run to have the history of a directory on another machine sent here.
    ///
    /// # Errors
    /// It is no `ssh://HOST/DIR`.
    pub fn history_of(url: &str) -> Result<Vec<String>> {
        let bad = |reason: String| ArchiveError::Url {
            url: url.to_owned(),
            reason,
        };
        let parsed = Url::parse(url).map_err(|error| bad(error.to_string()))?;
        match parsed.scheme() {
            "ssh" => super::remote::command(&parsed, "--stdio --history").map_err(bad),
            _ => Err(bad("write ssh://HOST/DIR".to_owned())),
        }
    }

    /// Whether a folder says of itself that it holds backups.
    pub fn is_repository(folder: &Path) -> bool {
        let marker = folder.join(super::object::MARKER);
        let is_file = marker.symlink_metadata().is_ok_and(|meta| meta.is_file());
        is_file && std::fs::read(marker).is_ok_and(|line| line.starts_with(b"rewindfs repository "))
    }

    /// What a place is called, whether it is there or not.
    ///
    /// # Errors
    /// A path that can't be one.
    pub fn place_of(url: &str) -> Result<String> {
        let bad = |reason: String| ArchiveError::Url {
            url: url.to_owned(),
            reason,
        };
        let path = match Url::parse(url) {
            Ok(parsed) if parsed.scheme() == "file" => {
                let path = parsed.to_file_path();
                path.map_err(|()| bad("write file:///FOLDER".to_owned()))?
            }
            _ if url.contains("://") => return Ok(url.to_owned()),
            _ => Path::new(url).to_owned(),
        };
        let full = std::path::absolute(&path).map_err(|error| bad(error.to_string()))?;
        // What is not there yet has no links in its own name, but may have some above it.
        let real = full
            .canonicalize()
            .or_else(|error| match (full.parent(), full.file_name()) {
                (Some(above), Some(name)) => Ok(above.canonicalize()?.join(name)),
                _ => Err(error),
            });
        let shown = Url::from_file_path(real.unwrap_or(full));
        let shown = shown.map_err(|()| bad("it is no path".to_owned()))?;
        Ok(shown.to_string())
    }

    /// The objects in a folder.
    ///
    /// # Errors
    /// It is not there, and not made; it can't be read.
    pub fn in_folder(path: &Path, create: bool) -> Result<Objects> {
        let bad = |reason: String| ArchiveError::Url {
            url: path.display().to_string(),
            reason,
        };
        Objects::folder(path, create).map_err(bad)
    }

    fn folder(path: &Path, create: bool) -> std::result::Result<Objects, String> {
        if create {
            std::fs::create_dir_all(path).map_err(|error| error.to_string())?;
        }
        let path = path.canonicalize().map_err(|error| error.to_string())?;
        let store = LocalFileSystem::new_with_prefix(&path).map_err(|error| error.to_string())?;
        let shown = Url::from_file_path(&path).map_err(|()| "it is no path".to_owned())?;
        let store = store.with_fsync(true);
        Objects::of(
            Arc::new(store),
            ObjectPath::default(),
            shown.as_str(),
            false,
        )
    }

    /// Any object store, for tests too.
    ///
    /// # Errors
    /// No runtime.
    pub fn of(
        store: Arc<dyn ObjectStore>,
        prefix: ObjectPath,
        place: &str,
        checks_uploads: bool,
    ) -> std::result::Result<Objects, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Objects {
            way: Way::Provider(Provider {
                store,
                prefix,
                runtime,
            }),
            place: place.to_owned(),
            checks_uploads,
            patience: None,
            limit: RwLock::default(),
            keeps: AtomicBool::default(),
        })
    }

    /// The same place, of which an answer is waited for so long only: others have what it has.
    pub fn patient_for(self, patience: Duration) -> Objects {
        Objects {
            patience: Some(patience),
            ..self
        }
    }

    /// From now on no more is sent to it than `rate` says.
    pub fn limit(&self, rate: Rate) {
        *self.limit.write() = Some(Arc::new(Limit::new(rate)));
    }

    /// Bytes of a pack, about.
    pub(super) fn pack_bytes(&self) -> usize {
        let limit = self.limit.read();
        limit
            .as_ref()
            .map_or(limits::PACK_BYTES, |limit| limit.pack_bytes())
    }

    fn keep_to_limit(&self, bytes: usize) {
        let limit = self.limit.read().clone();
        if let Some(limit) = limit {
            limit.send(bytes);
        }
    }

    /// What a person calls it.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Whether an upload that succeeded was checked by the place.
    pub fn checks_uploads(&self) -> bool {
        self.checks_uploads
    }

    fn fault(&self, action: &'static str, name: &str, error: Fault) -> ArchiveError {
        match error {
            Fault::NotFound { .. } => ArchiveError::Missing {
                place: self.place.clone(),
                name: name.to_owned(),
            },
            error => self.failed(action, name, error.to_string()),
        }
    }

    fn failed(&self, action: &'static str, name: &str, reason: String) -> ArchiveError {
        ArchiveError::Provider {
            place: self.place.clone(),
            action,
            name: name.to_owned(),
            reason,
        }
    }

    /// What a remote place told.
    fn told<T>(&self, action: &'static str, name: &str, told: Told<T>) -> Result<T> {
        match told {
            Ok(Some(value)) => Ok(value),
            Ok(None) => Err(ArchiveError::Missing {
                place: self.place.clone(),
                name: name.to_owned(),
            }),
            Err(reason) => Err(self.failed(action, name, reason)),
        }
    }

    /// Puts a new object. False: there is one of this name, and it stays.
    ///
    /// # Errors
    /// The place refuses it or can't be reached.
    pub fn put(&self, name: &str, bytes: Vec<u8>) -> Result<bool> {
        let action = "can't write";
        self.keep_to_limit(bytes.len());
        let provider = match &self.way {
            Way::Remote(remote) => return self.told(action, name, remote.put(name, bytes)),
            Way::Provider(provider) => provider,
        };
        let options = PutOptions::from(PutMode::Create);
        let payload = PutPayload::from(bytes);
        let path = provider.path(name);
        let put = provider.store.put_opts(&path, payload, options);
        match provider.runtime.block_on(put) {
            Ok(_) => Ok(true),
            Err(Fault::AlreadyExists { .. } | Fault::Precondition { .. }) => Ok(false),
            Err(error) => Err(self.fault(action, name, error)),
        }
    }

    /// Puts the bytes that an object should have in place of those that it has: at no moment it is
    /// not there.
    ///
    /// # Errors
    /// The place refuses it or can't be reached.
    pub fn mend(&self, name: &str, bytes: Vec<u8>) -> Result<()> {
        let action = "can't write";
        self.keep_to_limit(bytes.len());
        let provider = match &self.way {
            Way::Remote(remote) => return self.told(action, name, remote.mend(name, bytes)),
            Way::Provider(provider) => provider,
        };
        let path = provider.path(name);
        let put = provider.store.put(&path, PutPayload::from(bytes));
        match provider.runtime.block_on(put) {
            Ok(_) => Ok(()),
            Err(error) => Err(self.fault(action, name, error)),
        }
    }

    /// All of an object.
    ///
    /// # Errors
    /// `Missing`; the place can't be reached.
    pub fn get(&self, name: &str) -> Result<Vec<u8>> {
        let action = "can't read";
        let provider = match &self.way {
            Way::Remote(remote) => return self.told(action, name, remote.get(name)),
            Way::Provider(provider) => provider,
        };
        let path = provider.path(name);
        let read = async { provider.store.get(&path).await?.bytes().await };
        let bytes = self.wait(provider, read);
        Ok(bytes
            .map_err(|error| self.fault(action, name, error))?
            .to_vec())
    }

    /// A part of an object: `None` where the place gives none of it, so that all of it is to be asked for.
    pub fn get_range(&self, name: &str, range: Range<u64>) -> Option<Vec<u8>> {
        let wanted = usize::try_from(range.end - range.start).ok()?;
        let bytes = match &self.way {
            Way::Remote(remote) => remote.get_range(name, range).ok()??,
            Way::Provider(provider) => {
                let path = provider.path(name);
                let read = provider.store.get_range(&path, range);
                self.wait(provider, read).ok()?.to_vec()
            }
        };
        (bytes.len() == wanted).then_some(bytes)
    }

    fn wait<T>(
        &self,
        provider: &Provider,
        answer: impl Future<Output = std::result::Result<T, Fault>>,
    ) -> std::result::Result<T, Fault> {
        provider.runtime.block_on(async {
            let Some(patience) = self.patience else {
                return answer.await;
            };
            let late = |_| Fault::Generic {
                store: "place",
                source: format!("no answer in {} s", patience.as_secs()).into(),
            };
            tokio::time::timeout(patience, answer).await.map_err(late)?
        })
    }

    /// The length of an object, in bytes.
    ///
    /// # Errors
    /// As `get`.
    pub fn length(&self, name: &str) -> Result<u64> {
        let action = "can't look at";
        let provider = match &self.way {
            Way::Remote(remote) => return self.told(action, name, remote.length(name)),
            Way::Provider(provider) => provider,
        };
        let path = provider.path(name);
        let meta = provider.runtime.block_on(provider.store.head(&path));
        Ok(meta.map_err(|error| self.fault(action, name, error))?.size)
    }

    /// The names below a folder (all of them, below an empty one), with their lengths, in order.
    ///
    /// # Errors
    /// The place can't be reached.
    pub fn list(&self, folder: &str) -> Result<Vec<(String, u64)>> {
        let action = "can't list";
        let provider = match &self.way {
            Way::Remote(remote) => return self.told(action, folder, remote.list(folder)),
            Way::Provider(provider) => provider,
        };
        let below = match folder {
            "" => provider.prefix.clone(),
            folder => provider.path(folder),
        };
        let found = self.wait(provider, async {
            use futures::TryStreamExt;
            let all = provider.store.list(Some(&below));
            all.try_collect::<Vec<_>>().await
        });
        let found = found.map_err(|error| self.fault(action, folder, error))?;
        let own = |path: &ObjectPath| {
            let rest = path.as_ref().strip_prefix(provider.prefix.as_ref());
            let rest = rest.unwrap_or(path.as_ref());
            rest.trim_start_matches('/').to_owned()
        };
        let names = found
            .into_iter()
            .map(|meta| (own(&meta.location), meta.size));
        let mut names: Vec<_> = names.collect();
        names.sort();
        Ok(names)
    }

    /// Removes an object that nothing needs any more. False: the place keeps it, which costs room there
    /// and nothing else.
    pub fn clear(&self, name: &str) -> bool {
        let gone = self.delete(name);
        if let Err(error) = &gone
            && !self.keeps.swap(true, Ordering::Relaxed)
        {
            log::warn!("what is not needed any more stays there: {error}");
        }
        gone.is_ok()
    }

    /// Removes an object; one that is not there is removed.
    ///
    /// # Errors
    /// The place can't be reached or refuses.
    pub fn delete(&self, name: &str) -> Result<()> {
        let action = "can't remove";
        let provider = match &self.way {
            Way::Remote(remote) => {
                let gone = remote.delete(name).map(|told| told.or(Some(())));
                return self.told(action, name, gone);
            }
            Way::Provider(provider) => provider,
        };
        let path = provider.path(name);
        match provider.runtime.block_on(provider.store.delete(&path)) {
            Ok(()) | Err(Fault::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.fault(action, name, error)),
        }
    }
}

impl Provider {
    fn path(&self, name: &str) -> ObjectPath {
        name.split('/')
            .fold(self.prefix.clone(), |path, part| path.join(part))
    }
}
