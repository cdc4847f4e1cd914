//! What every disk has to do, as one test that each implementation runs on an empty disk of its own: the simulated
//! disk must not be kinder or harsher than the real one in what can be seen without a crash.

use super::{Dir, Disk, DiskErrorKind, FilePath};

/// Runs the contract.
///
/// # Panics
/// When the disk breaks it.
pub fn run<D: Disk>(disk: &D) {
    for dir in [Dir::Log, Dir::Snap] {
        disk.create_dir(dir).expect("create_dir makes what is missing");
        disk.create_dir(dir).expect("create_dir leaves what is there");
    }
    names(disk);
    bytes(disk);
    space(disk);
    handles(disk);
    small_files(disk);
    directories(disk);
}

fn file(name: &str) -> FilePath {
    FilePath::new(Dir::Log, name)
}

fn names<D: Disk>(disk: &D) {
    assert!(disk.list(Dir::Log).expect("list").is_empty(), "the contract wants an empty disk");
    let missing = disk.open(&file("none")).err().expect("there is no such file");
    assert_eq!(missing.kind, DiskErrorKind::NotFound);
    assert!(missing.path.contains("none"), "{missing}");
    assert_eq!(disk.unlink(&file("none")).expect_err("no such file").kind, DiskErrorKind::NotFound);
    assert_eq!(disk.rename(&file("none"), "b").expect_err("no such file").kind, DiskErrorKind::NotFound);
    disk.create(&file("b")).expect("create");
    disk.create(&file("a")).expect("create");
    assert_eq!(disk.create(&file("a")).err().expect("it is there").kind, DiskErrorKind::Exists);
    assert_eq!(disk.list(Dir::Log).expect("list"), ["a", "b"], "sorted");
    disk.rename(&file("b"), "a").expect("rename replaces");
    assert_eq!(disk.list(Dir::Log).expect("list"), ["a"]);
    assert!(disk.exists(&file("a")).expect("exists") && !disk.exists(&file("b")).expect("exists"));
    disk.sync_dir(Dir::Log).expect("sync_dir");
    disk.unlink(&file("a")).expect("unlink");
    assert!(disk.list(Dir::Log).expect("list").is_empty());
}

fn bytes<D: Disk>(disk: &D) {
    let path = file("bytes");
    let written = disk.create(&path).expect("create");
    assert_eq!(disk.length(&written).expect("length"), 0);
    disk.write_at(&written, 0, b"hello").expect("write");
    disk.write_at(&written, 1000, b"far").expect("write beyond the end");
    disk.write_at(&written, 1, b"E").expect("overwrite");
    assert_eq!(disk.length(&written).expect("length"), 1003);
    disk.sync_data(&written).expect("sync_data");
    let read = disk.open(&path).expect("open");
    let mut buffer = [1; 8];
    assert_eq!(disk.read_at(&read, 0, &mut buffer).expect("read"), 8);
    assert_eq!(&buffer, b"hEllo\0\0\0");
    assert_eq!(disk.read_at(&read, 999, &mut buffer).expect("read"), 4, "what is there before the end");
    assert_eq!(&buffer[..4], b"\0far");
    assert_eq!(disk.read_at(&read, 2000, &mut buffer).expect("read"), 0, "nothing behind the end");
    disk.truncate(&written, 3).expect("cut");
    disk.truncate(&written, 6).expect("extend");
    assert_eq!(disk.read_at(&read, 0, &mut buffer).expect("read"), 6);
    assert_eq!(&buffer[..6], b"hEl\0\0\0", "what was cut does not come back");
    disk.sync(&written).expect("sync");
    disk.unlink(&path).expect("unlink");
}

fn space<D: Disk>(disk: &D) {
    let path = file("space");
    let handle = disk.create(&path).expect("create");
    disk.write_at(&handle, 0, b"keep").expect("write");
    disk.allocate(&handle, 2, 10_000).expect("allocate");
    assert_eq!(disk.length(&handle).expect("length"), 10_002);
    let mut buffer = [1; 16];
    assert_eq!(disk.read_at(&handle, 0, &mut buffer).expect("read"), 16);
    assert_eq!(&buffer[..5], b"keep\0", "what was there is kept, the rest is zeros");
    disk.allocate(&handle, 0, 100).expect("allocate what is there");
    assert_eq!(disk.length(&handle).expect("length"), 10_002, "allocate never cuts");
    disk.unlink(&path).expect("unlink");
}

fn handles<D: Disk>(disk: &D) {
    let path = file("handle");
    let handle = disk.create(&path).expect("create");
    disk.rename(&path, "renamed").expect("rename");
    disk.write_at(&handle, 0, b"x").expect("a handle outlives the name");
    let again = disk.open_for_write(&file("renamed")).expect("open for write");
    assert_eq!(disk.length(&again).expect("length"), 1, "opening keeps what is there");
    disk.unlink(&file("renamed")).expect("unlink");
    disk.write_at(&handle, 1, b"y").expect("a handle outlives the file");
    assert_eq!(disk.length(&handle).expect("length"), 2);
    assert!(!disk.exists(&file("renamed")).expect("exists"));
}

fn small_files<D: Disk>(disk: &D) {
    let path = file("small");
    assert_eq!(disk.read_small(&path, 10).expect("read"), None);
    disk.replace_small(&path, "small.tmp", b"1").expect("replace");
    disk.replace_small(&path, "small.tmp", b"234567").expect("replace");
    assert_eq!(disk.read_small(&path, 10).expect("read").as_deref(), Some(&b"234567"[..]));
    assert_eq!(disk.read_small(&path, 2).expect("read").as_deref(), Some(&b"23"[..]));
    assert_eq!(disk.list(Dir::Log).expect("list"), ["small"]);
    disk.unlink(&path).expect("unlink");
}

fn directories<D: Disk>(disk: &D) {
    let name = "where";
    disk.create(&FilePath::new(Dir::Snap, name)).expect("create");
    let seen = disk.exists(&FilePath::new(Dir::Log, name)).expect("exists");
    assert_eq!(seen, disk.is_one_directory(), "one directory or two");
    assert!(
        !disk.exists(&FilePath::new(Dir::LogParent, name)).expect("exists"),
        "a parent is another directory"
    );
    disk.unlink(&FilePath::new(Dir::Snap, name)).expect("unlink");
}
