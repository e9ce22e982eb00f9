//! Cases 88 and 91 to 93, and every way a checkpoint can be laid out.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use tokenmill_core::{HasKind, Kind};
use tokenmill_formats::{Checkpoint, Config, Encoding, Error, gguf};

use crate::make::{Gguf, safetensors, small_safetensors};
use crate::refusal::open_refused;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

fn shard(tensor: &str) -> Vec<u8> {
    safetensors(
        format!(r#"{{"{tensor}":{{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}}}"#),
        b"xy",
    )
}

/// Two shards with one tensor each, and this weight map.
fn sharded(weight_map: &str) -> TempDir {
    let index = format!(r#"{{"metadata":{{"total_size":4}},"weight_map":{weight_map}}}"#);
    folder(&[
        ("config.json", b"{}"),
        (INDEX, index.as_bytes()),
        ("s1.safetensors", &shard("a")),
        ("s2.safetensors", &shard("b")),
    ])
}

const RIGHT_MAP: &str = r#"{"b":"s2.safetensors","a":"s1.safetensors"}"#;

fn refused(path: &Path, kind: Kind, says: &str) -> Error {
    let error = open_refused(path, says);
    assert_eq!(error.kind(), kind, "{error}");
    assert!(
        error.to_string().contains(says),
        "{error} does not say {says}"
    );
    error
}

#[test]
fn shards_are_read_through_their_index() {
    let folder = sharded(RIGHT_MAP);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert!(
        checkpoint
            .tensors()
            .map(|tensor| tensor.name.as_str())
            .eq(["a", "b"])
    );
    let mut bytes = Vec::new();
    checkpoint.read("b", &mut bytes).unwrap();
    assert_eq!(bytes, b"xy");
    assert_eq!(checkpoint.folder(), folder.path());
}

#[test]
fn case_88_an_index_may_name_plain_files_of_its_folder_only() {
    let of = |file: &str| format!(r#"{{"a":"{file}","b":"s2.safetensors"}}"#);
    let cases = [
        (of("none.safetensors"), "none.safetensors"),
        (of("../x.safetensors"), "tensor a"),
        (of("/etc/x.safetensors"), "tensor a"),
        (of("x/../s1.safetensors"), "tensor a"),
        (of(r"..\\x.safetensors"), "tensor a"),
        (of(r"s1.safetensors\u0000"), "tensor a"),
        (of("pytorch_model.bin"), "tensor a"),
        (of(""), "tensor a"),
        (of(".."), "tensor a"),
        (of(&format!("{}.safetensors", "n".repeat(300))), "tensor a"),
        (r#"{"a":1}"#.to_owned(), "tensor a"),
        ("[]".to_owned(), "weight_map"),
        ("null".to_owned(), "weight_map"),
        (
            r#"{"a":"s1.safetensors","a":"s2.safetensors"}"#.to_owned(),
            "duplicate key a",
        ),
        (
            r#"{"a":"s1.safetensors","b":"s2.safetensors","c":"s2.safetensors"}"#.to_owned(),
            "tensor c",
        ),
        (
            r#"{"a":"s2.safetensors","b":"s2.safetensors"}"#.to_owned(),
            "tensor a",
        ),
        (
            r#"{"c":"s1.safetensors","b":"s2.safetensors"}"#.to_owned(),
            "tensor c",
        ),
    ];
    for (map, says) in cases {
        refused(sharded(&map).path(), Kind::Corrupt, says);
    }
}

#[test]
fn case_88_the_same_tensor_in_two_files_is_refused() {
    let folder = sharded(RIGHT_MAP);
    let both = r#"{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"b":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#;
    fs::write(folder.path().join("s2.safetensors"), safetensors(both, &[])).unwrap();
    refused(folder.path(), Kind::Corrupt, "tensor a");
}

#[test]
fn case_88_a_tensor_that_the_index_does_not_name_is_refused() {
    let folder = sharded(RIGHT_MAP);
    let both = r#"{"z":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"b":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#;
    fs::write(folder.path().join("s2.safetensors"), safetensors(both, &[])).unwrap();
    refused(folder.path(), Kind::Corrupt, "tensor z");
}

#[test]
fn case_88_a_shard_that_links_out_of_the_folder_is_refused() {
    let outside = folder(&[("s1.safetensors", &shard("a"))]);
    let inside = sharded(RIGHT_MAP);
    let path = inside.path().join("s1.safetensors");
    fs::remove_file(&path).unwrap();
    symlink(outside.path().join("s1.safetensors"), &path).unwrap();
    refused(inside.path(), Kind::Corrupt, "s1.safetensors");
    fs::remove_file(&path).unwrap();
    fs::write(inside.path().join("real.safetensors"), shard("a")).unwrap();
    symlink("real.safetensors", &path).unwrap();
    assert!(
        Checkpoint::open(inside.path()).is_ok(),
        "a link inside the folder is allowed"
    );
}

#[test]
fn a_hub_cache_may_link_its_snapshots_to_its_blobs() {
    let root = tempfile::tempdir().unwrap();
    let blobs = root.path().join("models--x/blobs");
    let snapshot = root.path().join("models--x/snapshots/abc");
    fs::create_dir_all(&blobs).unwrap();
    fs::create_dir_all(&snapshot).unwrap();
    let index = format!(r#"{{"weight_map":{RIGHT_MAP}}}"#);
    let files = [
        ("config.json", b"{}".to_vec()),
        (INDEX, index.into_bytes()),
        ("s1.safetensors", shard("a")),
        ("s2.safetensors", shard("b")),
    ];
    for (hash, (name, bytes)) in files.into_iter().enumerate() {
        fs::write(blobs.join(hash.to_string()), bytes).unwrap();
        symlink(format!("../../blobs/{hash}"), snapshot.join(name)).unwrap();
    }
    assert!(Checkpoint::open(&snapshot).is_ok());
    let elsewhere = root.path().join("blobs");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("2"), shard("a")).unwrap();
    fs::remove_file(snapshot.join("s1.safetensors")).unwrap();
    symlink(elsewhere.join("2"), snapshot.join("s1.safetensors")).unwrap();
    refused(&snapshot, Kind::Corrupt, "s1.safetensors");
}

/// A folder checkpoint and a GGUF file, each with the name of a tensor of some bytes.
fn both_kinds() -> [(TempDir, PathBuf, &'static str); 2] {
    let single = folder(&[("config.json", b"{}"), (SINGLE, &small_safetensors())]);
    let gguf = folder(&[("m.gguf", &Gguf::small().bytes())]);
    let paths = [single.path().join(SINGLE), gguf.path().join("m.gguf")];
    let [first, second] = paths;
    [(single, first, "a"), (gguf, second, "a")]
}

/// Something done to a file of this length.
type Damage = fn(&File, u64);

#[test]
fn case_91_case_93_a_file_changed_after_opening_is_an_error() {
    let changes: [(&str, Damage); 4] = [
        ("truncated", |file, len| file.set_len(len - 40).unwrap()),
        ("emptied", |file, _| file.set_len(0).unwrap()),
        ("grown", |file, len| file.set_len(len + 1).unwrap()),
        ("rewritten", |file, _| {
            file.set_modified(SystemTime::now() + Duration::from_secs(5))
                .unwrap();
        }),
    ];
    for (what, change) in changes {
        for (folder, path, tensor) in both_kinds() {
            let checkpoint = Checkpoint::open(&path).unwrap();
            let mut bytes = Vec::new();
            checkpoint.read(tensor, &mut bytes).unwrap();
            let file = File::options().write(true).open(&path).unwrap();
            change(&file, file.metadata().unwrap().len());
            for outcome in [
                checkpoint.read(tensor, &mut bytes),
                checkpoint.read_range(tensor, 0, 1, &mut bytes),
            ] {
                let error = outcome.expect_err(what);
                assert!(matches!(error, Error::Changed { .. }), "{what}: {error}");
                assert_eq!(error.kind(), Kind::Io);
            }
            drop(folder);
        }
    }
}

#[test]
fn a_file_replaced_by_rename_keeps_its_old_content() {
    for (folder, path, tensor) in both_kinds() {
        let checkpoint = Checkpoint::open(&path).unwrap();
        let (mut before, mut after) = (Vec::new(), Vec::new());
        checkpoint.read(tensor, &mut before).unwrap();
        let other = folder.path().join("other");
        fs::write(&other, b"something else").unwrap();
        fs::rename(&other, &path).unwrap();
        checkpoint.read(tensor, &mut after).unwrap();
        assert_eq!(before, after);
    }
}

#[test]
fn case_92_what_is_no_regular_file_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["pipe.gguf", "pipe.safetensors", "pipe"] {
        let path = folder.path().join(name);
        assert!(
            Command::new("mkfifo")
                .arg(&path)
                .status()
                .unwrap()
                .success()
        );
        refused(&path, Kind::Io, name);
    }
    let socket = folder.path().join("socket.gguf");
    let _listener = UnixListener::bind(&socket).unwrap();
    refused(&socket, Kind::Io, "socket");
    let device = folder.path().join("device.gguf");
    symlink("/dev/zero", &device).unwrap();
    refused(&device, Kind::Io, "device");
    refused(Path::new("/dev/null"), Kind::Io, "device");
    let nested = folder.path().join("nested");
    fs::create_dir_all(nested.join(SINGLE)).unwrap();
    fs::write(nested.join("config.json"), "{}").unwrap();
    refused(&nested, Kind::Io, "folder");
    refused(
        &folder.path().join("none.gguf"),
        Kind::NotFound,
        "none.gguf",
    );
    refused(
        &folder.path().join("n".repeat(4000)),
        Kind::Io,
        "nnn cannot be read",
    );
    let dangling = folder.path().join("dangling.gguf");
    symlink("nowhere", &dangling).unwrap();
    refused(&dangling, Kind::NotFound, "dangling.gguf");
}

#[test]
fn case_92_an_unreadable_file_is_refused_by_name() {
    let folder = folder(&[("m.gguf", &Gguf::small().bytes())]);
    let path = folder.path().join("m.gguf");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if File::open(&path).is_ok() {
        return; // The superuser reads everything.
    }
    refused(&path, Kind::Io, "m.gguf");
}

#[test]
fn pickles_are_refused_with_advice_and_never_opened() {
    for name in ["pytorch_model.bin", "model.pt", "model.pth", "model.CKPT"] {
        let folder = tempfile::tempdir().unwrap();
        // A pipe: whoever opened it would wait for ever.
        assert!(
            Command::new("mkfifo")
                .arg(folder.path().join(name))
                .status()
                .unwrap()
                .success()
        );
        refused(&folder.path().join(name), Kind::Unsupported, "safetensors");
        refused(folder.path(), Kind::Unsupported, name);
    }
}

#[test]
fn a_folder_holds_one_checkpoint_or_is_refused() {
    let gguf = Gguf::small().bytes();
    refused(folder(&[]).path(), Kind::NotFound, "one .gguf file");
    refused(
        folder(&[("config.json", b"{}")]).path(),
        Kind::NotFound,
        SINGLE,
    );
    refused(
        folder(&[("a.gguf", &gguf), ("b.gguf", &gguf)]).path(),
        Kind::Unsupported,
        "a.gguf, b.gguf",
    );
    refused(
        folder(&[(SINGLE, &small_safetensors())]).path(),
        Kind::NotFound,
        "config.json",
    );
    refused(
        &folder(&[("x.txt", b"")]).path().join("x.txt"),
        Kind::Unsupported,
        "x.txt",
    );
    let one = folder(&[("a.gguf", &gguf), ("README.md", b"")]);
    let checkpoint = Checkpoint::open(one.path()).unwrap();
    let Config::Gguf(metadata) = checkpoint.config() else {
        panic!("not a GGUF config")
    };
    assert_eq!(metadata.string("general.architecture").unwrap(), "llama");
    let mut bytes = Vec::new();
    checkpoint.read("b", &mut bytes).unwrap();
    assert_eq!(bytes, (64..76).collect::<Vec<u8>>());
}

#[test]
fn both_configs_are_read_and_checked() {
    let right = folder(&[
        ("config.json", br#"{"hidden_size":64}"#),
        ("generation_config.json", br#"{"eos_token_id":[1,2]}"#),
        (SINGLE, &small_safetensors()),
    ]);
    let checkpoint = Checkpoint::open(right.path()).unwrap();
    let Config::Json { config, generation } = checkpoint.config() else {
        panic!("not a JSON config")
    };
    assert_eq!(config["hidden_size"], 64);
    assert_eq!(generation.as_ref().unwrap()["eos_token_id"][1], 2);
    for bad in [
        br#"{"a":1,"a":2}"#.as_slice(),
        b"[]",
        b"{",
        b"",
        &b"[".repeat(200),
    ] {
        for name in ["config.json", "generation_config.json"] {
            let folder = folder(&[("config.json", b"{}"), (SINGLE, &small_safetensors())]);
            fs::write(folder.path().join(name), bad).unwrap();
            refused(folder.path(), Kind::Corrupt, name);
        }
    }
    let large = folder(&[
        ("config.json", &vec![b' '; (4 << 20) + 1]),
        (SINGLE, &small_safetensors()),
    ]);
    refused(large.path(), Kind::Corrupt, "config.json");
}

#[test]
fn memory_checkpoints_are_checked_as_files_are() {
    let config = || Config::Gguf(gguf::Metadata::new("memory", 3));
    let tensor =
        |name: &str, len: usize| (name.to_owned(), Encoding::Q8_0, vec![2, 32], vec![7; len]);
    let checkpoint =
        Checkpoint::from_memory(config(), vec![tensor("a", 68), tensor("b", 68)]).unwrap();
    let mut bytes = Vec::new();
    checkpoint.read_range("b", 34, 34, &mut bytes).unwrap();
    assert_eq!(bytes, [7; 34]);
    assert_eq!(checkpoint.weight_bytes(), 136);
    assert_eq!(checkpoint.folder(), Path::new(""));
    for bad in [
        vec![tensor("a", 67)],
        vec![tensor("a", 68), tensor("a", 68)],
        vec![tensor("../a", 68)],
    ] {
        assert_eq!(
            Checkpoint::from_memory(config(), bad).unwrap_err().kind(),
            Kind::Corrupt
        );
    }
}

#[test]
fn reads_stay_inside_their_tensor() {
    for (_folder, path, tensor) in both_kinds() {
        let checkpoint = Checkpoint::open(&path).unwrap();
        let len = checkpoint.tensor(tensor).unwrap().len_bytes();
        let mut bytes = vec![1; 3];
        checkpoint.read_range(tensor, len, 0, &mut bytes).unwrap();
        assert!(bytes.is_empty());
        for (offset, count) in [
            (len, 1),
            (0, len as usize + 1),
            (u64::MAX, 1),
            (1, usize::MAX),
            (u64::MAX, usize::MAX),
        ] {
            let error = checkpoint
                .read_range(tensor, offset, count, &mut bytes)
                .unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidRequest, "{error}");
        }
        let error = checkpoint.read("absent", &mut bytes).unwrap_err();
        assert_eq!(
            (error.kind(), error.param()),
            (Kind::Corrupt, Some("absent"))
        );
    }
}
