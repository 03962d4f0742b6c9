//! What a file consists of in the store after it was written to in place.

use super::scene::{CALLER, Scene};
use crate::backing::Backing;
use crate::capture::LiveFiles;
use crate::format::record::{ChunkList, Content, Cutting, Piece};
use crate::history::path;
use crate::id::{Epoch, FileId};
use crate::limits::{CHUNK_MAX, FIXED_CHUNK};
use crate::store::repair::Mender;
use std::sync::Arc;

const SIZE: usize = 3 << 20;

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    let mut bytes = vec![0; len];
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

impl Scene {
    fn list(&self, name: &str) -> (FileId, Arc<ChunkList>) {
        let view = self.store.view();
        let found = path::walk(&view, Epoch::MAX, [name.as_bytes()]).expect("a store");
        let found = found.expect("it is there");
        let Content::List(hash) = found.inode.content else {
            panic!("it has one piece");
        };
        (found.id, view.list(hash).expect("its list"))
    }

    fn whole(&self, name: &str) -> Vec<u8> {
        let (_, list) = self.list(name);
        let view = self.store.view();
        let bytes = list.pieces.iter().flat_map(|piece| match *piece {
            Piece::Data { hash, .. } => view.chunk(hash).expect("its bytes").to_vec(),
            Piece::Hole { len } => vec![0; usize::try_from(len).expect("short")],
        });
        bytes.collect()
    }
}

#[test]
fn only_the_pieces_that_are_written_to_are_cut_anew() {
    let scene = Scene::new(|_| ());
    let ino = scene.make("large");
    let mut bytes = noise(1, SIZE);
    for (at, piece) in (0..).step_by(1 << 20).zip(bytes.chunks(1 << 20)) {
        scene.write(ino, at, piece);
    }
    scene
        .recorder()
        .snapshot(super::scene::new("one"), crate::capture::Patience::ENDLESS)
        .expect("a state");
    let (_, first) = scene.list("large");
    assert_eq!(first.cutting, Cutting::ContentDefined);
    let mut lists = vec![first];
    // In the midst, over an edge of two pieces, at the end, twice at one place, and beyond the end.
    let edge = lists[0].pieces[..9].iter().map(Piece::len).sum::<u64>();
    let places = [
        1_234_567,
        edge - 100,
        SIZE as u64 - 7,
        1_234_000,
        SIZE as u64 + 5,
    ];
    for (number, at) in (2..).zip(places) {
        let new = noise(number, 4096);
        let from = usize::try_from(at).expect("short");
        bytes.resize(bytes.len().max(from + new.len()), 0);
        bytes[from..from + new.len()].copy_from_slice(&new);
        scene.write(ino, at, &new);
        let name = format!("number-{number}");
        scene
            .recorder()
            .snapshot(super::scene::new(&name), crate::capture::Patience::ENDLESS)
            .expect("a state");
        let (id, list) = scene.list("large");
        assert!(scene.whole("large") == bytes, "{number}");
        assert_eq!(list.cutting, Cutting::Fixed);
        let before = &lists[lists.len() - 1];
        let kept = before
            .pieces
            .iter()
            .filter(|piece| list.pieces.contains(piece));
        let kept: u64 = kept.map(Piece::len).sum();
        let around = u64::from(2 * CHUNK_MAX + 2 * FIXED_CHUNK);
        assert!(
            kept + around >= SIZE as u64,
            "{number}: {kept} bytes were taken over"
        );
        // Were the list lost, the file as it stands would say what it was.
        let backing = Backing::open(&scene.dir).expect("a directory");
        let files = LiveFiles::new(&backing, scene.store.clone()).expect("descriptors");
        assert!(files.lists(id).contains(&list), "{number}");
        lists.push(list);
    }
    let mut read = Vec::new();
    scene
        .live
        .read(&CALLER, ino, 0, SIZE as u32 + 8192, &mut read)
        .expect("it is there");
    assert!(read == bytes);
    scene.end();
}
