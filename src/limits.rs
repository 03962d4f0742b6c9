//! Every bound has a name and stands here, with its unit and the reason for its size.

use std::time::Duration;

/// Content that stood unchanged for this long is kept whatever happens to it (`-o settle`).
pub const SETTLE: Duration = Duration::from_secs(1);
/// How often a checkpoint is made while something changes (`-o interval`).
pub const INTERVAL: Duration = Duration::from_secs(5);
/// The least by which the times of two epochs, or of two changes of the list of snapshots, differ.
pub const TIME_STEP: Duration = Duration::from_nanos(1);
/// A cut that lies in such a silence is marked `quiet`.
pub const QUIET: Duration = Duration::from_millis(200);
/// Bytes that one operation may stash; a larger one waits for the capture of its file.
pub const STASH_PIECE: u64 = 8 << 20;
/// Bytes that all stashes together may hold.
pub const STASH_MAX: u64 = 256 << 20;
/// Bytes on the live disk that removed files may take until they are recorded: beyond it, whoever
/// removes more waits. What `rm` gives back late should be small beside a disk.
pub const KEPT_BYTES: u64 = 4 << 30;
/// How long a thread of the pool for what takes long waits for another operation on the same file
/// before the request is parked: longer than nearly all operations take.
pub const LOCK_WAIT: Duration = Duration::from_millis(50);
/// How long an event loop does: a write takes less, and to hand over what is to be written takes
/// a copy, a thread that wakes up and one that goes to sleep.
pub const LOCK_WAIT_LOOP: Duration = Duration::from_micros(100);
/// Notes (inodes and names) after which the open epoch is cut: bounds the batch of a commit.
pub const NOTES_MAX: u64 = 10_000;
/// Who does nothing for so long has done with what he did: what follows is another doing.
pub const DOING_PAUSE: Duration = Duration::from_secs(10);
/// Doings in one answer: bounds the message, a command line may have COMMAND_MAX bytes.
pub const DOINGS_TOLD: usize = 500;
/// Versions in one answer to `log` of a file.
pub const VERSIONS_TOLD: usize = 1000;
/// Changes that `log --by time` keeps until it prints the newest first, each of about 500 bytes.
pub const CHANGES_TOLD: usize = 10_000;
/// Changes that `events` reads before it answers, but always those of one state.
pub const EVENTS_READ: usize = 4096;
/// Names of the store that `find` reads before it answers.
pub const FIND_READ: usize = 20_000;
/// Lines of change that a list of doings holds in memory, each of about 200 bytes.
pub const DOING_LINES_MAX: usize = 500_000;
/// Paths of directories that are remembered while many paths are made.
pub const PATHS_KNOWN_MAX: usize = 100_000;
/// States of the past that an undo has open at once: a descriptor or two each.
pub const UNDO_STATES: usize = 100;
/// Doings that `undo` shows: what it is needed for was done a short while ago.
pub const UNDO_SHOWN: usize = 20;
/// Lists of doings that a daemon remembers, so that a number goes on meaning what it meant.
pub const UNDO_LISTS: usize = 100;
/// Steps and troubles in one answer: far below what a message may have.
pub const UNDO_PAGE_BYTES: usize = 1 << 20;
/// What is taken back of a command that is only named: what it did within this time.
pub const UNDO_SPAN: Duration = Duration::from_secs(24 * 3600);
/// Files of an epoch that are named because they were destroyed before they were old enough to be
/// recorded: more than anybody reads; the rest is counted.
pub const UNSETTLED_FILES: usize = 1000;
/// Epochs of which such names are remembered: with paths of 100 bytes 10 MiB at the most.
pub const UNSETTLED_EPOCHS: usize = 100;
/// Runs of which the names are kept; beyond, the oldest are forgotten.
pub const RUNS_MAX: u64 = 1_000;
/// Bytes of the name or command line of a run.
pub const RUN_TEXT_MAX: usize = 1024;
/// Bytes of a command line that are recorded: enough to tell one command from another.
pub const COMMAND_MAX: usize = 1024;
/// What is noted and not yet recorded may weigh so much: the notes of all epochs, the open one's too,
/// and EPOCH_WEIGHT each. A note takes about 1 KiB until it is recorded; beyond, whoever changes one
/// more file waits. By weight, not by number: while one large file is captured, others go on being
/// kept.
pub const PENDING_WEIGHT: u64 = 2 * NOTES_MAX;
/// What an epoch takes in memory beside its notes, in notes.
pub const EPOCH_WEIGHT: u64 = 8;
/// How long a request may wait for a capture before the file is recorded as lost.
pub const CAPTURE_WAIT: Duration = Duration::from_secs(30);
/// How long `mkdir .snapshots/NAME` may take before it answers EAGAIN.
pub const SNAPSHOT_WAIT: Duration = Duration::from_secs(20);
/// Smallest, average and largest content-defined chunk, bytes.
pub const CHUNK_MIN: u32 = 16 << 10;
/// Average content-defined chunk, bytes.
pub const CHUNK_AVERAGE: u32 = 64 << 10;
/// Largest content-defined chunk, bytes.
pub const CHUNK_MAX: u32 = 256 << 10;
/// Chunk of a file that is written in place, bytes.
pub const FIXED_CHUNK: u32 = 16 << 10;
/// Largest WRITE and READ, bytes.
pub const MAX_WRITE: u32 = 1 << 20;
/// Most bytes that one COPY_FILE_RANGE moves.
pub const COPY_PIECE: u64 = 8 << 20;
/// `st_blksize` of regular files: stdio, cp and Python move data in such pieces.
pub const BLKSIZE: u32 = 128 << 10;
/// How long the kernel may keep names and attributes: while mounted, we are the only way in.
pub const TTL: Duration = Duration::from_secs(86_400);
/// A store that is closed may have so much in the log of its database, bytes: it is read again when the
/// store is opened.
pub const LOG_KEPT: u64 = 1 << 20;
/// How long the kernel may keep the name of a snapshot.
pub const NAME_TTL: Duration = Duration::from_millis(50);
/// How long it may keep the attributes of `.snapshots`. It is told of each change at once; this is for
/// an owner or group of the directory that changes.
pub const LIST_TTL: Duration = Duration::from_secs(1);
/// After this no kernel keeps a name that was given out before: it rounds up to its ticks.
pub const NAME_GONE: Duration = Duration::from_millis(80);
/// A store whose calls take longer is not asked by an event loop.
pub const STORE_QUICK: Duration = Duration::from_millis(20);
/// An operation that takes longer is logged once.
pub const SLOW_OPERATION: Duration = Duration::from_secs(10);
/// Longest name of a directory entry, bytes.
pub const NAME_MAX: usize = 255;
/// Longest name of a snapshot, bytes.
pub const SNAPSHOT_NAME_MAX: usize = 200;
/// A ctime closer than this to the look at it does not prove that nothing changed.
pub const RACY: Duration = Duration::from_secs(2);
/// Free space at which history stops: the smaller of this and MIN_FREE_PERCENT.
pub const MIN_FREE_BYTES: u64 = 5 << 30;
/// See MIN_FREE_BYTES.
pub const MIN_FREE_PERCENT: u64 = 5;
/// Plain bytes of the largest chunk of data that a store accepts or reads.
pub const CHUNK_PLAIN_MAX: u32 = 1 << 20;
/// Bytes of the largest encoded chunk list: 7 million pieces, 110 GB in fixed chunks.
pub const LIST_PLAIN_MAX: u32 = 256 << 20;
/// Chunk numbers that are handed out between two notes of them: what a dead process left behind is
/// looked for among so many.
pub const CHUNK_BLOCK: u64 = 4096;
/// Ids of files, actors and snapshots that are handed out between two notes of them.
pub const ID_BLOCK: u64 = 1024;
/// Verified chunks and lists that a store keeps in memory, bytes.
pub const CHUNK_CACHE: usize = 32 << 20;
/// Blocks of the database that are kept in memory, bytes.
pub const BLOCK_CACHE: usize = 16 << 20;
/// Unwritten records of the database in memory, bytes, all families together.
pub const WRITE_BUFFERS: usize = 32 << 20;
/// Files that the database keeps open: the limit of a process is often 1024.
pub const STORE_FILES: i32 = 256;
/// Descriptors that are left to all but the table of files: the database (STORE_FILES), listings,
/// the device once for each loop, sockets, and what is open for the moment of one call.
pub const OTHER_FILES: u64 = 450;
/// How long the store waits for readers before it is reopened.
pub const REOPEN_WAIT: Duration = Duration::from_secs(10);
/// Findings of a verify that are told, so that they fit into a message; more are counted.
pub const FINDINGS_MAX: usize = 1000;
/// Problems that a verify lists; more are counted.
pub const PROBLEMS_MAX: usize = 10_000;
/// Hashes whose references a verify counts in one walk over all records: 64 MiB of memory.
pub const VERIFY_HASHES: u64 = 1 << 20;
/// Numbers of chunks that a verify can tell apart: 2 x 256 MiB of memory at the most, and more chunks
/// than 100 TB of files have.
pub const VERIFY_NUMBERS: u64 = 1 << 31;
/// Epochs whose states are counted in one pass over all records: 2 KiB of memory each.
pub const VERIFY_EPOCHS: usize = 8192;
/// Pieces of decoded chunk lists that are kept for reading (48 bytes each): 32 GiB of files.
pub const LIST_CACHE_PIECES: usize = 512 << 10;
/// Chunk lists of which the number of data bytes is kept (64 bytes each).
pub const LIST_CACHE_LENGTHS: usize = 64 << 10;
/// Stretches of the courses of directories that are kept (32 bytes each).
pub const COURSE_STRETCHES: usize = 64 << 10;
/// Versions that are kept of names whose history is being looked at (400 bytes each).
pub const HISTORY_VERSIONS: usize = 64 << 10;
/// Names whose tenures are kept (40 bytes a tenure).
pub const HISTORY_TENURES: usize = 64 << 10;
/// Names that changed between two states and are kept for looking around in it (100 bytes each).
pub const CHANGED_NAMES: usize = 512 << 10;
/// Bytes of lists of changes that are kept for reading.
pub const CHANGES_BYTES: usize = 16 << 20;
/// Longest extension of a file's name that its versions show, bytes: the rest of their names takes 40.
pub const EXTENSION_MAX: usize = 64;
/// Directories above each other that can be entered in the history by name.
pub const HISTORY_DEPTH: usize = 4096;
/// Bytes of records that are copied at once when a database is built anew.
pub const REBUILD_BATCH: usize = 4 << 20;
/// How often the whole store is checked in the background.
pub const SCRUB_EVERY: Duration = Duration::from_secs(7 * 24 * 3600);
/// For how long nobody must have worked before a piece of it is read.
pub const SCRUB_QUIET: Duration = Duration::from_secs(60);
/// Stored bytes that are read a second: a disk does ten times as much, a terabyte takes two days.
pub const SCRUB_RATE: u64 = 8 << 20;
/// Stored bytes that are read at once: who begins to work waits for no more.
pub const SCRUB_PIECE: u64 = 1 << 20;
/// How often it is noted how far the check is.
pub const SCRUB_KEEP: Duration = Duration::from_secs(30);
/// Versions that a purge removes in one batch.
pub const PURGE_BATCH: usize = 1000;
/// How long a purge waits for who reads the store as it was before.
pub const WIPE_WAIT: Duration = Duration::from_secs(10);
/// Files that are named because they need what is to be purged.
pub const SHARERS_TOLD: usize = 10;
/// Rounds of a repair: each sees further than the one before, and few are needed.
pub const REPAIR_ROUNDS: usize = 64;
/// Live files that are tried for a damaged piece of content.
pub const MEND_TRIES: usize = 16;
/// Directories above a directory: PATH_MAX bounds the path, but not how deep a tree can be.
pub const DEPTH_MAX: usize = 16 << 10;
/// Places in listings of states that are kept to resume there.
pub const DIR_CURSORS: usize = 4096;
/// Entries of a state's directory that are read from the store at once.
pub const DIR_PAGE: usize = 128;
/// Numbers of epochs in a row that were handed out and never committed.
pub const UNUSED_EPOCHS: u64 = 64;
/// Stored bytes of new chunks that a commit writes through the log; for more it flushes them.
pub const LOGGED_CHUNKS: u64 = 4 << 20;
/// Lines of change that a prune works off in one batch.
pub const PRUNE_LINES: usize = 5_000;
/// How long a state is kept at least after its name was taken away: what `rm -r` or a script did to
/// the list of snapshots is noticed within a day.
pub const DELETED_KEPT: Duration = Duration::from_secs(24 * 3600);
/// Deleted snapshots that can be undeleted; beyond, the oldest are forgotten once DELETED_KEPT is
/// over.
pub const DELETED_MAX: usize = 10_000;
/// How long ago a state must have ended before a full disk or the largest size of the store takes
/// it: what fills a disk within an hour must not take the history of that hour along.
pub const SPARE_AGE: Duration = Duration::from_secs(3600);
/// How long what a policy kept is still kept, in the background, after the policy was changed.
pub const FORMER_KEPT: Duration = Duration::from_secs(24 * 3600);
/// How often old checkpoints are looked for in the background.
pub const PRUNE_EVERY: Duration = Duration::from_secs(600);
/// How soon after the start they are looked for first.
pub const PRUNE_FIRST: Duration = Duration::from_secs(60);
/// How often checkpoints are dropped at most because space is short.
pub const PRUNE_SHORT_EVERY: Duration = Duration::from_secs(30);
/// Hashes that are counted at once to say what a prune will free: 128 MiB of memory. Of a larger
/// history it says "at least".
pub const WEIGHED_HASHES: usize = 1 << 20;
/// A piece of the chunks is written anew, to give space back, when this part of it was removed.
pub const RECLAIM_PERCENT: u64 = 20;
/// Versions and lines removed after which the families of records are compacted.
pub const RECLAIM_RECORDS: u64 = 100_000;
/// Bytes of the reason of a hold.
pub const REASON_MAX: usize = 4096;
/// Lines of the log of the list of snapshots; beyond, the oldest go.
pub const LOG_LINES: u64 = 10_000;
/// Files that are kept as they were because they were touched before a scan reached them: each
/// takes a descriptor and about a kilobyte. Beyond it, who removes files waits for the scan.
pub const SCAN_KEPT_MAX: u64 = 20_000;
/// How long a command waits for a store that another process has open.
pub const STORE_WAIT: Duration = Duration::from_secs(3);
/// Between two tries.
pub const STORE_POLL: Duration = Duration::from_millis(50);
/// A call to the store that lasts longer makes nobody wait who can keep the old bytes in memory. With
/// the time until who waits already looks again (RETRY), a live operation waits 100 ms at most.
pub const STORE_SLOW: Duration = Duration::from_millis(50);
/// During such a call all stashes together may hold so many times STASH_MAX: what programs overwrite
/// until it is a STORE_STUCK.
pub const STASH_SLOW_TIMES: u64 = 3;
/// During such a call what is noted may weigh so many times PENDING_WEIGHT, which a program that does
/// nothing but make files notes within some seconds: memory for a store that is busy, not for one that
/// is gone.
pub const NOTES_SLOW_TIMES: u64 = 3;
/// A call that lasts longer makes nobody wait at all: what it would keep is recorded as lost. Not
/// less: a disk that is only busy would cost history.
pub const STORE_STUCK: Duration = Duration::from_secs(1);
/// How soon a request that waits is run again, even if nothing is known to have changed.
pub const RETRY: Duration = Duration::from_millis(20);
/// A call that lasts longer stops history: a store on a disk that spins up, or is very busy, has
/// answered by then.
pub const STORE_HUNG: Duration = Duration::from_secs(10);
/// States that are counted to say how far a replica is behind.
pub const REPLICA_COUNTED: usize = 10_000;
/// So far behind a replica may be, beside the time between two of its turns, before a person is told.
pub const REPLICA_LATE: Duration = Duration::from_secs(300);
/// Between two tries to reach a replica; doubled after each that fails.
pub const REPLICA_FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest time between two tries.
pub const REPLICA_LAST_PAUSE: Duration = Duration::from_secs(60);
/// Between two tries of something that is done by itself; doubled after each that fails.
pub const SCHEDULE_FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The longest time between two tries.
pub const SCHEDULE_LAST_PAUSE: Duration = Duration::from_secs(3600);
/// How often it is tried whether a command succeeds that something waits for.
pub const PROBE_EVERY: Duration = Duration::from_secs(10);
/// How long such a command may take.
pub const PROBE_WAIT: Duration = Duration::from_secs(10);
/// How long it may be due and not begun before a person is told.
pub const SCHEDULE_LATE: Duration = Duration::from_secs(3600);
/// After so long a window has been open once.
pub const A_DAY: Duration = Duration::from_secs(24 * 3600);
/// For so long trouble is a reason to send what is only here.
pub const TROUBLE_NEWS: Duration = Duration::from_secs(24 * 3600);
/// Between two signs of life at a replica: a place is found silent within a quarter of an hour, and
/// three hundred small objects a day cost little anywhere.
pub const BEAT_EVERY: Duration = Duration::from_secs(300);
/// So many of them must fail to come before somebody is taken for silent.
pub const BEATS_MISSED: u32 = 3;
/// Between two drills of a replica that run by themselves, unless somebody says otherwise.
pub const DRILL_EVERY: Duration = Duration::from_secs(7 * 24 * 3600);
/// Of the files, so many percent, unless somebody says otherwise.
pub const DRILL_PERCENT: u8 = 5;
/// The first drill of a replica waits so long at most: the password for the night is tried soon.
pub const DRILL_FIRST: Duration = Duration::from_secs(3600);
/// One that failed is tried again after so long at most.
pub const DRILL_AGAIN: Duration = Duration::from_secs(24 * 3600);
/// So late a drill may be before a person is told.
pub const DRILL_GRACE: Duration = Duration::from_secs(24 * 3600);
/// How long the end of a mount waits for its replicas.
pub const REPLICA_END: Duration = Duration::from_secs(10);
/// The same when it was ended by SIGTERM: systemd waits for 90 s.
pub const DANGER_END: Duration = Duration::from_secs(30);
/// For so long no limit is kept after something began to go wrong.
pub const URGENT: Duration = Duration::from_secs(600);
/// How long the end of a mount waits for hooks that are running.
pub const HOOKS_END: Duration = Duration::from_secs(5);
/// How often it is looked whether something is about to go wrong.
pub const DANGER_LOOK: Duration = Duration::from_secs(1);
/// Between two tries to record again; doubled after each that fails.
pub const RESUME_FIRST: Duration = Duration::from_secs(1);
/// The longest time between two tries: opening a damaged store reads all of its log.
pub const RESUME_LAST: Duration = Duration::from_secs(30);
/// Times without history for the same reason that are closer are one: a store that fails whenever
/// it is tried does not fill the list.
pub const GAP_JOIN: Duration = Duration::from_secs(60);
/// How long `status` says that a person should know of a time without history that is over.
pub const GAP_NEWS: Duration = Duration::from_secs(24 * 3600);
/// How long `mount` looks at what a directory holds before its first import: a million files.
pub const ESTIMATE_WAIT: Duration = Duration::from_secs(60);
/// Bytes that are recorded between two looks at the free space of the store's disk.
pub const SPACE_STEP: u64 = 4 << 20;
/// How often `umount` looks again whether somebody who used the directory has gone.
pub const BUSY_TRIES: u32 = 20;
/// Between two looks.
pub const BUSY_POLL: Duration = Duration::from_millis(50);
/// Directories above each other that a restore goes down: two descriptors and some stack each.
pub const RESTORE_DEPTH: usize = 1000;
/// Files that a restore works on at a time: more does not help one disk.
pub const RESTORE_WORKERS: usize = 4;
/// Files that wait for them: each holds two descriptors.
pub const RESTORE_QUEUE: usize = 64;
/// Bytes of a file whose lines `diff -u` compares.
pub const DIFF_TEXT: u64 = 16 << 20;
/// Lines that wait to be written to the log: a page of each on a disk that hangs.
pub const LOG_QUEUE: usize = 1024;
/// How long the end of a daemon waits for its last lines to be written.
pub const LOG_END_WAIT: Duration = Duration::from_secs(1);
/// Files that one actor destroys within ALARM_WITHIN before there is an alarm (`policy --alarm`): more
/// than people change at a time, fewer than a build or a checkout of a large tree.
pub const ALARM_FILES: u64 = 1000;
/// What counts for an alarm falls out after this time; a state that took longer counts as a whole.
pub const ALARM_WITHIN: Duration = Duration::from_secs(10);
/// Files of a folder that must go before half of it is an alarm: the folders that people empty by hand
/// every day (pictures of a trip, objects of a small build) are smaller.
pub const ALARM_FOLDER_FILES: u64 = 200;
/// Files of one actor whose content becomes incompressible before there is an alarm: more than
/// somebody encrypts by hand.
pub const SCRAMBLED_FILES: u64 = 10;
/// How long they count: who encrypts slowly to be overlooked needs a day for a thousand files.
pub const SCRAMBLED_WITHIN: Duration = Duration::from_secs(600);
/// Content of fewer bytes compresses so badly that it tells nothing.
pub const SCRAMBLED_BYTES: u64 = 1024;
/// Stored bytes in a hundred plain ones from which on content is incompressible: encrypted or compressed. What an
/// eighth would not be saved of is stored as it is (`format::value::pack_chunk`), so it counts as that.
pub const DENSE_PERCENT: u64 = 98;
/// The same up to which it was compressible: text, tables, programs.
pub const LOOSE_PERCENT: u64 = 80;
/// The same actor raises no second alarm in a folder, or below it, for so long.
pub const ALARM_AGAIN: Duration = Duration::from_secs(24 * 3600);
/// How long an alarm holds the state before: a person who was away for a week still finds it.
pub const ALARM_HELD: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long `status` says that a person should look at an alarm: after a day he has, or the work
/// goes on as it is.
pub const ALARM_NEWS: Duration = Duration::from_secs(24 * 3600);
/// States that alarms hold at most: what is held takes room on the disk that no prune gives back.
pub const ALARMS_HELD_MAX: usize = 100;
/// Patterns of what is left out: more than anybody writes, and each path is held against all.
pub const PATTERNS_MAX: usize = 1000;
/// Bytes of one of them: as long as a path can be.
pub const PATTERN_MAX: usize = 4096;
/// Changes of what is left out that are remembered; beyond, the oldest go, and with them the
/// knowledge of what states of that time leave out.
pub const RULES_KEPT: usize = 1000;
/// How long after something was done to a CACHEDIR.TAG it is looked at: its writer has then written
/// it.
pub const TAG_WAIT: Duration = Duration::from_millis(300);
/// Bytes that must have come into the store before it is told which folder makes most of them: what
/// takes less in a day is no trouble on a disk of today, and the work of people stays below.
pub const HEAVY_BYTES: u64 = 1 << 30;
/// They are counted for so long: a day has the builds and the other work of one.
pub const HEAVY_WITHIN: Duration = Duration::from_secs(24 * 3600);
/// Folders that are counted apart: with paths of 100 bytes 200 KiB of memory, and a folder with a
/// thousandth of all keeps its own count.
pub const HEAVY_FOLDERS: usize = 1024;
/// Folders that were told of at most, ever.
pub const HINTS_MAX: usize = 100;
/// How long `status` shows it: who looks once a day sees it.
pub const HINT_NEWS: Duration = Duration::from_secs(24 * 3600);
/// Bytes of records, or of chunks, that go to another store at once, about; few in tests, so that
/// there are many pages.
pub const EXPORT_PAGE: usize = if cfg!(test) { 2 << 10 } else { 2 << 20 };
/// Chunks that are asked for at once for another store.
pub const EXPORT_CHUNKS: usize = 1000;
/// Bytes of a pack in a repository, about: few enough to be sent again, enough for a provider that
/// takes money for each.
pub const PACK_BYTES: usize = 16 << 20;
/// Of a pack of which a part is wanted, so many bytes between two wanted ones come along: about what a line
/// carries while another question is answered.
pub const PART_GAP: u64 = 64 << 10;
/// A pack that is smaller is not taken over by the set in whose place it was made: what is in it goes into a
/// larger one.
pub const PACK_SMALL: u64 = 1 << 20;
/// After this time, at the latest, it is looked whether all that a replica had is there.
pub const REPLICA_LOOK: Duration = Duration::from_secs(3600);
/// The same where a limit says how much may be sent in a second.
pub const PACK_BYTES_LEAST: usize = 64 << 10;
/// Chunks that one object of an index names, about.
pub const INDEX_CHUNKS: usize = 200_000;
/// Objects that are sent to a repository at once.
pub const UPLOADS: usize = 4;
/// Packs that are fetched from a repository at once: at first, and at the most unless more are asked
/// for. Each takes the memory of two packs.
pub const JOBS_FIRST: usize = 3;
pub const JOBS_MAX: usize = 8;
/// For so long an object is waited for where another place may have it.
pub const PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 20 });
/// Objects one after the other that a place did not give before others are asked first.
pub const GIVES_UP: u32 = 3;
/// How long nothing may come of what is to be recovered before who waits for it gets an error.
pub const FILL_SILENCE: Duration = Duration::from_secs(60);
/// The longest pause before a place that did not answer is asked again for what is to be recovered.
pub const FILL_LAST_PAUSE: Duration = Duration::from_secs(10);
/// Longest message while a store is sent, bytes: a chunk list of the longest kind and its frame.
pub const EXPORT_FRAME: u32 = LIST_PLAIN_MAX + (16 << 20);
/// How often a store that is asked for something that takes long says that it is at it.
pub const EXPORT_TOLD: Duration = Duration::from_millis(500);
/// How long the other side may say nothing while a store is sent: it may be sending elsewhere.
pub const EXPORT_IDLE: Duration = Duration::from_secs(3600);
