//! An object store to which things happen, by a seed: calls fail before or after they had their
//! effect, answer late, in another order, or with bytes that are not those that were put. Every call
//! is counted.

use super::super::Objects;
use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What befalls a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Well,
    /// It fails and nothing is done.
    Refused,
    /// It is done, and fails.
    AnswerLost,
    /// It is said to be done, and is not.
    Swallowed,
    /// It is done twice, and answered as the second time.
    Repeated,
    /// Bytes come back cut off, or changed.
    CutOff,
    Changed,
    Late,
}

const OF_PUT: [Fate; 5] = [
    Fate::Refused,
    Fate::AnswerLost,
    Fate::Swallowed,
    Fate::Repeated,
    Fate::Late,
];
const OF_GET: [Fate; 4] = [Fate::Refused, Fate::CutOff, Fate::Changed, Fate::Late];
const OF_LIST: [Fate; 3] = [Fate::Refused, Fate::Repeated, Fate::Late];
const OF_DELETE: [Fate; 4] = [Fate::Refused, Fate::AnswerLost, Fate::Repeated, Fate::Late];

/// How often something happens, and with which dice.
struct Dice {
    random: StdRng,
    percent: u32,
}

/// The store: a folder behind it.
pub struct Faulty {
    inner: LocalFileSystem,
    folder: PathBuf,
    dice: Arc<Mutex<Dice>>,
    /// Names that begin so are not answered for.
    silent: Mutex<Option<&'static str>>,
    /// Names that begin so come over a line that carries so many bytes a second.
    slow: Mutex<Option<(&'static str, u64)>>,
    line: tokio::sync::Mutex<()>,
    /// By verb and name.
    counts: Mutex<BTreeMap<(&'static str, String), u64>>,
    /// That were asked for, by name.
    bytes: Mutex<BTreeMap<String, u64>>,
    /// Nothing is removed, and nothing that is there written over.
    keeps: Arc<AtomicBool>,
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

impl Faulty {
    /// `percent` of the calls go wrong.
    pub fn new(folder: &Path, seed: u64, percent: u32) -> Arc<Faulty> {
        Arc::new(Faulty {
            inner: LocalFileSystem::new_with_prefix(folder).unwrap(),
            folder: folder.to_owned(),
            dice: Arc::new(Mutex::new(Dice {
                random: StdRng::seed_from_u64(seed),
                percent,
            })),
            silent: Mutex::default(),
            slow: Mutex::default(),
            line: tokio::sync::Mutex::default(),
            counts: Mutex::default(),
            bytes: Mutex::default(),
            keeps: Arc::default(),
        })
    }

    /// From now on nobody hears of objects whose names begin so.
    pub fn be_silent_of(&self, start: &'static str) {
        *self.silent.lock() = Some(start);
    }

    /// From now on objects whose names begin so come at so many bytes a second, all together.
    pub fn be_slow_with(&self, start: &'static str, rate: u64) {
        *self.slow.lock() = Some((start, rate));
    }

    /// From now on nothing that is there goes or becomes another, as a bucket with a retention has it.
    pub fn keep_all(&self) {
        self.keeps.store(true, Ordering::Relaxed);
    }

    /// As a place. `checks`: it is believed what it says of an upload.
    pub fn objects(self: &Arc<Self>, checks: bool) -> Arc<Objects> {
        let store = Arc::clone(self) as Arc<dyn ObjectStore>;
        let objects = Objects::of(store, ObjectPath::default(), "faulty", checks);
        Arc::new(objects.unwrap())
    }

    /// How often something was done to names that begin so.
    pub fn count(&self, verb: &'static str, name: &str) -> u64 {
        let counts = self.counts.lock();
        let of = counts
            .iter()
            .filter(|((other, at), _)| *other == verb && at.starts_with(name));
        of.map(|(_, count)| count).sum()
    }

    /// Bytes of objects whose names begin so that were given.
    pub fn bytes(&self, name: &str) -> u64 {
        let bytes = self.bytes.lock();
        let of = bytes.iter().filter(|(at, _)| at.starts_with(name));
        of.map(|(_, bytes)| bytes).sum()
    }

    pub fn forget_counts(&self) {
        self.counts.lock().clear();
    }

    fn begin(&self, verb: &'static str, name: &str, fates: &[Fate]) -> Fate {
        *self
            .counts
            .lock()
            .entry((verb, name.to_owned()))
            .or_default() += 1;
        self.dice.lock().throw(fates)
    }
}

impl Dice {
    fn throw(&mut self, fates: &[Fate]) -> Fate {
        match self.random.random_range(0..100) < self.percent {
            true => fates[self.random.random_range(0..fates.len())],
            false => Fate::Well,
        }
    }
}

fn refused() -> Error {
    Error::Generic {
        store: "faulty",
        source: "it does not answer".into(),
    }
}

fn kept(location: &ObjectPath) -> Error {
    Error::PermissionDenied {
        path: location.to_string(),
        source: "it is protected until tomorrow".into(),
    }
}

async fn wait() {
    tokio::time::sleep(Duration::from_millis(2)).await;
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        location: &ObjectPath,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let fate = self.begin("put", location.as_ref(), &OF_PUT);
        let writes_over = opts.mode != PutMode::Create;
        if writes_over && self.keeps.load(Ordering::Relaxed) {
            return Err(kept(location));
        }
        let put = |payload| self.inner.put_opts(location, payload, opts.clone());
        match fate {
            Fate::Refused => Err(refused()),
            Fate::AnswerLost => {
                put(payload).await?;
                Err(refused())
            }
            Fate::Swallowed => Ok(PutResult {
                e_tag: None,
                version: None,
                extensions: Default::default(),
            }),
            Fate::Repeated => {
                let _ = put(payload.clone()).await;
                put(payload).await
            }
            Fate::Late => {
                wait().await;
                put(payload).await
            }
            _ => put(payload).await,
        }
    }

    async fn put_multipart_opts(
        &self,
        _: &ObjectPath,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(refused())
    }

    async fn get_opts(&self, location: &ObjectPath, options: GetOptions) -> Result<GetResult> {
        let fate = self.begin("get", location.as_ref(), &OF_GET);
        if fate == Fate::Refused {
            return Err(refused());
        }
        let silent = *self.silent.lock();
        if silent.is_some_and(|start| location.as_ref().starts_with(start)) {
            tokio::time::sleep(Duration::from_secs(3600)).await;
        }
        if fate == Fate::Late {
            wait().await;
        }
        let got = self.inner.get_opts(location, options).await?;
        *self.bytes.lock().entry(location.to_string()).or_default() +=
            got.range.end - got.range.start;
        let slow = *self.slow.lock();
        if let Some((_, rate)) = slow.filter(|(start, _)| location.as_ref().starts_with(start)) {
            let bytes = got.range.end - got.range.start;
            let _alone = self.line.lock().await;
            tokio::time::sleep(Duration::from_secs_f64(bytes as f64 / rate as f64)).await;
        }
        if !matches!(fate, Fate::CutOff | Fate::Changed) {
            return Ok(got);
        }
        let (meta, range, attributes) =
            (got.meta.clone(), got.range.clone(), got.attributes.clone());
        let bytes = got.bytes().await?;
        let at = self.dice.lock().random.random_range(0..bytes.len().max(1));
        let bytes = match fate {
            Fate::CutOff => bytes.slice(..at.min(bytes.len())),
            _ => {
                let mut changed = bytes.to_vec();
                if let Some(byte) = changed.get_mut(at) {
                    *byte ^= 4;
                }
                changed.into()
            }
        };
        let stream = futures::stream::once(async move { Ok(bytes) }).boxed();
        Ok(GetResult {
            payload: GetResultPayload::Stream(stream),
            meta,
            range,
            attributes,
            extensions: Default::default(),
        })
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<ObjectPath>>,
    ) -> BoxStream<'static, Result<ObjectPath>> {
        let dice = Arc::clone(&self.dice);
        let inner = LocalFileSystem::new_with_prefix(&self.folder).unwrap();
        let inner = Arc::new(inner);
        let keeps = Arc::clone(&self.keeps);
        locations
            .and_then(move |location| {
                let fate = dice.lock().throw(&OF_DELETE);
                let inner = Arc::clone(&inner);
                let keeps = keeps.load(Ordering::Relaxed);
                async move {
                    if keeps {
                        return Err(kept(&location));
                    }
                    if fate == Fate::Refused {
                        return Err(refused());
                    }
                    inner.delete(&location).await?;
                    match fate {
                        Fate::AnswerLost => Err(refused()),
                        Fate::Repeated => inner.delete(&location).await.map(|()| location),
                        _ => Ok(location),
                    }
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&ObjectPath>) -> BoxStream<'static, Result<ObjectMeta>> {
        let name = prefix.map_or("", |prefix| prefix.as_ref());
        let fate = self.begin("list", name, &OF_LIST);
        let found = self.inner.list(prefix);
        let dice = Arc::clone(&self.dice);
        let all = async move {
            if fate == Fate::Late {
                wait().await;
            }
            let mut found: Vec<ObjectMeta> = found.try_collect().await?;
            let mut dice = dice.lock();
            // The order of a list is nowhere promised.
            found.shuffle(&mut dice.random);
            if fate == Fate::Repeated && !found.is_empty() {
                found.push(found[0].clone());
            }
            let mut found: Vec<Result<ObjectMeta>> = found.into_iter().map(Ok).collect();
            if fate == Fate::Refused {
                found.push(Err(refused()));
            }
            Ok::<_, Error>(futures::stream::iter(found))
        };
        futures::stream::once(all).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&ObjectPath>) -> Result<ListResult> {
        Err(refused())
    }

    async fn copy_opts(&self, _: &ObjectPath, _: &ObjectPath, _: CopyOptions) -> Result<()> {
        Err(refused())
    }
}
