//! Every operation of the protocol, watches of every kind, chroot, transactions, credentials.

use std::time::Duration;

use ostler_client::{
    ANY_VERSION, Acl, AddWatchMode, Client, Code, CreateMode, ErrorKind, EventType, MultiReadOp, MultiResult,
    WatchEvent, WatcherType, blocking, perms,
};

use super::World;

macro_rules! scenarios {
    ($world:expr, $($name:ident),* $(,)?) => {
        $( $name(&$world.client(stringify!($name)).await, $world).await; $world.pass(stringify!($name)); )*
    };
}

pub(crate) async fn run(world: &mut World) {
    scenarios!(
        world,
        data,
        versions,
        children,
        create_modes,
        acls,
        auth,
        transactions,
        multi_reads,
        pipelining,
        batches,
        oneshot_watches,
        watches_of_what_is_not_there,
        persistent_watches,
        removed_watches,
        dropped_watches,
        overflowing_streams,
        misuse,
        large_values,
        configuration,
        chroot,
        ephemerals_of_a_closed_session,
        a_resumed_session,
        dropped_replies,
    );
}

fn code<T: std::fmt::Debug>(result: Result<T, ostler_client::Error>) -> Option<Code> {
    result.unwrap_err().code()
}

async fn data(client: &Client, _: &World) {
    let created = client.create("/a", "one", CreateMode::Persistent).await.unwrap();
    assert_eq!((created.path.as_str(), created.stat.version), ("/a", 0));
    let (data, stat) = client.get_data("/a").await.unwrap();
    assert_eq!((&data[..], stat.czxid), (&b"one"[..], created.stat.czxid));
    assert_eq!(client.set_data("/a", "two", 0).await.unwrap().version, 1);
    assert_eq!(client.exists("/a").await.unwrap().unwrap().data_length, 3);
    client.sync("/a").await.unwrap();
    client.delete("/a", 1).await.unwrap();
    assert_eq!(client.exists("/a").await.unwrap(), None);
    assert_eq!(code(client.get_data("/a").await), Some(Code::NoNode));
    client.create("/empty", "", CreateMode::Persistent).await.unwrap();
    assert!(client.get_data("/empty").await.unwrap().0.is_empty());
}

async fn versions(client: &Client, _: &World) {
    client.create("/a", "", CreateMode::Persistent).await.unwrap();
    assert_eq!(code(client.set_data("/a", "", 7).await), Some(Code::BadVersion));
    assert_eq!(code(client.delete("/a", 7).await), Some(Code::BadVersion));
    assert_eq!(code(client.create("/a", "", CreateMode::Persistent).await), Some(Code::NodeExists));
    assert_eq!(code(client.create("/b/c", "", CreateMode::Persistent).await), Some(Code::NoNode));
    client.create("/a/b", "", CreateMode::Persistent).await.unwrap();
    assert_eq!(code(client.delete("/a", ANY_VERSION).await), Some(Code::NotEmpty));
}

async fn children(client: &Client, _: &World) {
    for path in ["/p", "/p/x", "/p/y", "/p/y/z"] {
        client.create(path, "", CreateMode::Persistent).await.unwrap();
    }
    let (mut names, stat) = client.get_children("/p").await.unwrap();
    names.sort();
    assert_eq!((names, stat.num_children), (vec!["x".to_owned(), "y".to_owned()], 2));
    assert_eq!(client.get_all_children_number("/p").await.unwrap(), 3);
    client.create("/p/e1", "", CreateMode::Ephemeral).await.unwrap();
    client.create("/p/e2", "", CreateMode::Ephemeral).await.unwrap();
    let mut mine = client.get_ephemerals("/p").await.unwrap();
    mine.sort();
    assert_eq!(mine, ["/p/e1", "/p/e2"]);
}

async fn create_modes(client: &Client, _: &World) {
    let first = client.create("/s-", "", CreateMode::PersistentSequential).await.unwrap();
    let second = client.create("/s-", "", CreateMode::EphemeralSequential).await.unwrap();
    assert!(first.path < second.path && second.path.len() == "/s-0000000001".len());
    assert_eq!(second.stat.ephemeral_owner, client.session_id().0);
    let container = client.create("/c", "", CreateMode::Container).await.unwrap();
    assert_eq!(container.path, "/c");
    assert_eq!(
        code(client.create(&format!("{}/x", second.path), "", CreateMode::Persistent).await),
        Some(Code::NoChildrenForEphemerals)
    );
    // Whether TTL nodes are allowed is the server's setting; if not it says that it does not implement them.
    match client.create_ttl("/t", "", &Acl::open(), false, Duration::from_secs(100)).await {
        Ok(created) => assert_eq!(created.path, "/t"),
        Err(error) => assert_eq!(error.code(), Some(Code::Unimplemented)),
    }
}

async fn acls(client: &Client, _: &World) {
    client
        .create_with_acl("/a", "", &[Acl::world(perms::READ | perms::ADMIN)], CreateMode::Persistent)
        .await
        .unwrap();
    let (acl, stat) = client.get_acl("/a").await.unwrap();
    assert_eq!((acl, stat.aversion), (vec![Acl::world(perms::READ | perms::ADMIN)], 0));
    assert_eq!(code(client.set_data("/a", "", ANY_VERSION).await), Some(Code::NoAuth));
    assert_eq!(client.set_acl("/a", &Acl::open(), 0).await.unwrap().aversion, 1);
    client.set_data("/a", "", ANY_VERSION).await.unwrap();
    let bad = [Acl::new(perms::ALL, "no-such-scheme", "x")];
    assert_eq!(
        code(client.create_with_acl("/b", "", &bad, CreateMode::Persistent).await),
        Some(Code::InvalidAcl)
    );
}

async fn auth(client: &Client, world: &World) {
    client.add_auth("digest", b"bob:secret").await.unwrap();
    let who = client.who_am_i().await.unwrap();
    assert!(who.iter().any(|info| info.scheme == "digest" && info.user == "bob"), "{who:?}");
    client
        .create_with_acl("/mine", "x", &[Acl::new(perms::ALL, "auth", "")], CreateMode::Persistent)
        .await
        .unwrap();
    assert_eq!(client.get_data("/mine").await.unwrap().0, "x");
    let other = Client::connect(&world.servers()).await.unwrap();
    let refused = other.add_auth("no-such-scheme", b"x").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::SessionLost);
    assert!(other.get_data("/").await.is_err());
}

async fn transactions(client: &Client, _: &World) {
    let results = client
        .transaction()
        .create("/a", "1", CreateMode::Persistent)
        .create("/a/s-", "", CreateMode::PersistentSequential)
        .set_data("/a", "2", 0)
        .check("/a", 1)
        .delete("/a/s-0000000000", ANY_VERSION)
        .commit()
        .await
        .unwrap();
    let [
        MultiResult::Created { path: a, .. },
        MultiResult::Created { path: s, .. },
        MultiResult::Stat(stat),
        MultiResult::Done,
        MultiResult::Done,
    ] = &results[..]
    else {
        panic!("{results:?}")
    };
    assert_eq!((a.as_str(), s.as_str(), stat.version), ("/a", "/a/s-0000000000", 1));
    let error = client
        .transaction()
        .set_data("/a", "3", ANY_VERSION)
        .check("/a", 77)
        .delete("/a", ANY_VERSION)
        .commit()
        .await;
    let error = error.unwrap_err();
    assert_eq!((error.code(), error.operation()), (Some(Code::BadVersion), Some(1)));
    assert_eq!(client.get_data("/a").await.unwrap().0, "2");
}

async fn multi_reads(client: &Client, _: &World) {
    client.create("/a", "1", CreateMode::Persistent).await.unwrap();
    let reads = vec![
        MultiReadOp::GetData { path: "/a".into() },
        MultiReadOp::GetChildren { path: "/".into() },
        MultiReadOp::GetData { path: "/none".into() },
    ];
    let results = client.multi_read(reads).await.unwrap();
    let [MultiResult::Data { data, .. }, MultiResult::Children(names), MultiResult::Error(-101)] =
        &results[..]
    else {
        panic!("{results:?}")
    };
    assert_eq!((data.as_deref(), names.as_slice()), (Some(&b"1"[..]), &["a".to_owned()][..]));
}

async fn pipelining(client: &Client, _: &World) {
    client.create("/n", "", CreateMode::Persistent).await.unwrap();
    let mut replies = Vec::new();
    for i in 0..500 {
        replies.push((client.set_data("/n", i.to_string(), i), client.get_data("/n")));
    }
    for (i, (set, get)) in replies.into_iter().enumerate() {
        assert_eq!(set.await.unwrap().version, i32::try_from(i).unwrap() + 1);
        assert_eq!(get.await.unwrap().0, i.to_string());
    }
}

async fn batches(client: &Client, _: &World) {
    for name in ["a", "b"] {
        client.create(&format!("/{name}"), name, CreateMode::Persistent).await.unwrap();
    }
    let paths: Vec<String> = (0..1000).map(|i| format!("/{}", ["a", "b", "c"][i % 3])).collect();
    // What was asked for before is done before, and what is asked for behind is done behind.
    let set = client.set_data("/a", "new", 0);
    let (mut data, there) = (client.get_data_batch(&paths), client.exists_batch(&paths));
    let deleted = client.delete("/b", ANY_VERSION);
    for i in 0..1000 {
        match (i % 3, data.next().await.unwrap()) {
            (0, Ok((data, stat))) => assert_eq!((&data[..], stat.version), (&b"new"[..], 1)),
            (1, Ok((data, _))) => assert_eq!(data, "b"),
            (_, answer) => assert_eq!(code(answer), Some(Code::NoNode)),
        }
    }
    assert!(data.next().await.is_none());
    let there = there.all().await.unwrap();
    assert!(there.iter().enumerate().all(|(i, stat)| stat.is_some() == (i % 3 != 2)), "{there:?}");
    assert!(set.await.is_ok() && deleted.await.is_ok());
    assert_eq!(code(client.get_data_batch(&paths).all().await), Some(Code::NoNode));
}

async fn oneshot_watches(client: &Client, _: &World) {
    client.create("/a", "", CreateMode::Persistent).await.unwrap();
    let (_, _, changed) = client.get_data_and_watch("/a").await.unwrap();
    let (_, _, child) = client.get_children_and_watch("/a").await.unwrap();
    let (_, also) = client.exists_and_watch("/a").await.unwrap();
    let stat = client.set_data("/a", "x", ANY_VERSION).await.unwrap();
    for watch in [changed, also] {
        let event = watch.await.unwrap();
        assert_eq!((event.kind, event.path.as_str()), (EventType::NodeDataChanged, "/a"));
        assert!(event.zxid.0 == stat.mzxid || event.zxid.0 == -1);
    }
    client.create("/a/b", "", CreateMode::Persistent).await.unwrap();
    assert_eq!(child.await.unwrap().kind, EventType::NodeChildrenChanged);
    let (_, _, gone) = client.get_data_and_watch("/a/b").await.unwrap();
    client.delete("/a/b", ANY_VERSION).await.unwrap();
    assert_eq!(gone.await.unwrap().kind, EventType::NodeDeleted);
}

async fn watches_of_what_is_not_there(client: &Client, _: &World) {
    let (none, appears) = client.exists_and_watch("/later").await.unwrap();
    assert_eq!(none, None);
    assert_eq!(code(client.get_data_and_watch("/never").await), Some(Code::NoNode));
    client.create("/later", "", CreateMode::Persistent).await.unwrap();
    assert_eq!(appears.await.unwrap().kind, EventType::NodeCreated);
}

fn changed(event: Option<WatchEvent>) -> (EventType, String) {
    match event {
        Some(WatchEvent::Changed(event)) => (event.kind, event.path),
        other => panic!("{other:?}"),
    }
}

async fn persistent_watches(client: &Client, _: &World) {
    let mut one = client.add_watch("/a", AddWatchMode::Persistent).await.unwrap();
    let mut all = client.add_watch("/", AddWatchMode::PersistentRecursive).await.unwrap();
    client.create("/a", "", CreateMode::Persistent).await.unwrap();
    client.create("/a/b", "", CreateMode::Persistent).await.unwrap();
    client.set_data("/a/b", "x", ANY_VERSION).await.unwrap();
    client.delete("/a/b", ANY_VERSION).await.unwrap();
    client.delete("/a", ANY_VERSION).await.unwrap();
    for (kind, path) in [
        (EventType::NodeCreated, "/a"),
        (EventType::NodeCreated, "/a/b"),
        (EventType::NodeDataChanged, "/a/b"),
        (EventType::NodeDeleted, "/a/b"),
        (EventType::NodeDeleted, "/a"),
    ] {
        assert_eq!(changed(all.next().await), (kind, path.to_owned()));
    }
    for kind in [
        EventType::NodeCreated,
        EventType::NodeChildrenChanged,
        EventType::NodeChildrenChanged,
        EventType::NodeDeleted,
    ] {
        assert_eq!(changed(one.next().await), (kind, "/a".to_owned()));
    }
}

async fn removed_watches(client: &Client, _: &World) {
    client.create("/a", "", CreateMode::Persistent).await.unwrap();
    assert_eq!(code(client.remove_watches("/a", WatcherType::Any).await), Some(Code::NoWatcher));
    let mut stream = client.add_watch("/a", AddWatchMode::Persistent).await.unwrap();
    assert!(client.check_watches("/a", WatcherType::Persistent).await.unwrap());
    client.remove_watches("/a", WatcherType::Persistent).await.unwrap();
    assert_eq!(stream.next().await, None);
    let (_, _, watch) = client.get_data_and_watch("/a").await.unwrap();
    client.remove_watches("/a", WatcherType::Data).await.unwrap();
    assert_eq!(watch.await.unwrap_err().kind(), ErrorKind::Misuse);
}

async fn dropped_watches(client: &Client, _: &World) {
    client.create("/a", "", CreateMode::Persistent).await.unwrap();
    let (_, _, first) = client.get_data_and_watch("/a").await.unwrap();
    let (_, _, second) = client.get_data_and_watch("/a").await.unwrap();
    drop(first);
    assert!(client.check_watches("/a", WatcherType::Data).await.unwrap(), "somebody else has it");
    // Taken off and asked for again, all under way at once.
    drop(second);
    let third = client.get_data_and_watch("/a");
    let (_, _, third) = third.await.unwrap();
    assert!(client.check_watches("/a", WatcherType::Data).await.unwrap());
    drop(client.get_data_and_watch("/a"));
    client.sync("/").await.unwrap();
    client.set_data("/a", "", ANY_VERSION).await.unwrap();
    assert_eq!(third.await.unwrap().kind, EventType::NodeDataChanged);
    drop(client.get_data_and_watch("/a").await.unwrap());
    assert!(!client.check_watches("/a", WatcherType::Data).await.unwrap(), "the server has forgotten it");
    // Dropped before its answer came.
    drop(client.get_data_and_watch("/a"));
    client.sync("/").await.unwrap();
    client.sync("/").await.unwrap();
    assert!(!client.check_watches("/a", WatcherType::Data).await.unwrap());
}

async fn overflowing_streams(_: &Client, world: &World) {
    let client = Client::builder(&world.servers()).unwrap().watch_capacity(4).connect().await.unwrap();
    let root = format!("/overflow-{:x}", client.session_id().0);
    client.create(&root, "", CreateMode::Persistent).await.unwrap();
    let mut stream = client.add_watch(&root, AddWatchMode::Persistent).await.unwrap();
    for _ in 0..10 {
        client.set_data(&root, "", ANY_VERSION).await.unwrap();
    }
    for _ in 0..4 {
        assert!(matches!(stream.next().await, Some(WatchEvent::Changed(_))));
    }
    assert_eq!(stream.next().await, Some(WatchEvent::Overflow));
    client.delete(&root, ANY_VERSION).await.unwrap();
    assert_eq!(changed(stream.next().await).0, EventType::NodeDeleted);
}

async fn misuse(client: &Client, _: &World) {
    for path in ["", "a", "/a/", "//", "/a/../b"] {
        assert_eq!(client.get_data(path).await.unwrap_err().kind(), ErrorKind::Misuse, "{path:?}");
        assert_eq!(client.delete(path, ANY_VERSION).await.unwrap_err().kind(), ErrorKind::Misuse, "{path:?}");
    }
    assert!(client.get_data("/").await.is_ok());
}

async fn large_values(client: &Client, _: &World) {
    let large = vec![7_u8; 900_000];
    client.create("/large", large.clone(), CreateMode::Persistent).await.unwrap();
    assert_eq!(client.get_data("/large").await.unwrap().0, large);
    // Beyond what the server takes: it hangs up, and the write may have happened for all that the client knows.
    let too_large = client.set_data("/large", vec![7_u8; 1_100_000], ANY_VERSION).await.unwrap_err();
    assert_eq!(too_large.kind(), ErrorKind::Unknown);
    client.connected().await.unwrap();
    assert_eq!(client.get_data("/large").await.unwrap().1.version, 0);
}

async fn configuration(client: &Client, _: &World) {
    let (_, stat, watch) = client.get_config_and_watch().await.unwrap();
    assert_eq!(client.get_config().await.unwrap().1, stat);
    drop(watch);
    let refused = client.reconfig(None, Some("9"), None, -1).await.unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::Rejected(_)), "{refused}");
}

async fn chroot(client: &Client, world: &World) {
    let whole = Client::connect(&world.servers()).await.unwrap();
    let nested = whole.get_children("/").await.unwrap().0;
    let root = nested.iter().find(|name| name.starts_with("suite-chroot")).unwrap();
    let mut seen = whole.add_watch(&format!("/{root}"), AddWatchMode::PersistentRecursive).await.unwrap();
    client.create("/x", "", CreateMode::Persistent).await.unwrap();
    assert_eq!(changed(seen.next().await).1, format!("/{root}/x"));
    assert_eq!(client.get_children("/").await.unwrap().0, ["x"]);
    let mut events = client.add_watch("/", AddWatchMode::PersistentRecursive).await.unwrap();
    whole.set_data(&format!("/{root}"), "", ANY_VERSION).await.unwrap();
    assert_eq!(changed(events.next().await).1, "/");
    whole.close().await;
}

async fn ephemerals_of_a_closed_session(client: &Client, world: &World) {
    let other = Client::connect(&world.servers()).await.unwrap();
    let path = format!("/ephemeral-{:x}", other.session_id().0);
    other.create(&path, "", CreateMode::Ephemeral).await.unwrap();
    other.close().await;
    assert_eq!(other.get_data("/").await.unwrap_err().kind(), ErrorKind::Misuse);
    let whole = Client::connect(&world.servers()).await.unwrap();
    whole.sync("/").await.unwrap();
    assert_eq!(whole.exists(&path).await.unwrap(), None);
    assert!(client.status().is_connected());
}

async fn a_resumed_session(_: &Client, world: &World) {
    // The first client goes without a word: its runtime is stopped beneath it.
    let servers = world.servers();
    let (id, password, path) = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let first = Client::connect(&servers).await.unwrap();
            let path = format!("/resumed-{:x}", first.session_id().0);
            first.create(&path, "", CreateMode::Ephemeral).await.unwrap();
            let parts = (first.session_id(), first.session_password(), path);
            // Its last handle must not close the session.
            std::mem::forget(first);
            parts
        })
    })
    .await
    .unwrap();
    let builder = || Client::builder(&world.servers()).unwrap().resume(id, password);
    let second = builder().connect().await.unwrap();
    assert_eq!(second.session_id(), id);
    assert_eq!(second.exists(&path).await.unwrap().unwrap().ephemeral_owner, id.0);
    second.close().await;
    // A session that is gone is not to be had.
    assert_eq!(builder().connect().await.unwrap_err().kind(), ErrorKind::SessionLost);
}

async fn dropped_replies(client: &Client, _: &World) {
    client.create("/n", "", CreateMode::Persistent).await.unwrap();
    for i in 0..1000 {
        let reply = client.set_data("/n", i.to_string(), i);
        if i % 3 == 0 {
            reply.await.unwrap();
        }
    }
    assert_eq!(client.get_data("/n").await.unwrap().1.version, 1000);
}

/// The facade for programs without async.
pub(crate) fn blocking(world: &mut World) {
    let client = blocking::Client::connect(&world.servers()).unwrap();
    let path = format!("/blocking-{:x}", client.inner().session_id().0);
    client.create(&path, "1", CreateMode::Ephemeral).unwrap();
    let (data, _, mut watch) = client.get_data_and_watch(&path).unwrap();
    assert_eq!(data, "1");
    assert!(watch.wait_for(Duration::from_millis(10)).is_none());
    let mut stream = client.add_watch(&path, AddWatchMode::Persistent).unwrap();
    let other = client.clone();
    let moved = path.clone();
    let writer = std::thread::spawn(move || other.set_data(&moved, "2", 0).unwrap());
    assert_eq!(watch.wait().unwrap().kind, EventType::NodeDataChanged);
    assert_eq!(client.exists_batch(&[&path[..], "/blocking-none"]).unwrap().iter().flatten().count(), 1);
    assert_eq!(client.get_data_batch(&[&path; 3]).unwrap().len(), 3);
    assert!(matches!(stream.next(), Some(WatchEvent::Changed(_))));
    writer.join().unwrap();
    let results = client.commit(client.transaction().check(&path, 1)).unwrap();
    assert_eq!(results, [MultiResult::Done]);
    drop(stream);
    drop(client);
    // Closed when the last handle went.
    let client = blocking::Client::connect(&world.servers()).unwrap();
    client.sync("/").unwrap();
    assert_eq!(client.exists(&path).unwrap(), None);
    client.close();
    world.pass("blocking");
}
