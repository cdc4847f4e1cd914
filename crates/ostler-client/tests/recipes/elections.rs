//! Elections: never two who lead, always one in the end.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ostler_client::recipes::{Candidate, Election, Leader, LeaderObserver, MasterElection, Role};
use ostler_client::{Client, Zxid};

use super::world::World;
use super::{perhaps_kill, schedules};

const PROCESSES: usize = 3;

#[derive(Clone, Copy)]
enum Form {
    Latch,
    Master,
}

impl Form {
    fn join(self, client: &Client, id: String) -> Candidate {
        match self {
            Self::Latch => Election::new(client, "/election").join(id),
            Self::Master => MasterElection::new(client, "/masters/one").join(id),
        }
    }

    fn observe(self, client: &Client) -> LeaderObserver {
        match self {
            Self::Latch => Election::new(client, "/election").observe(),
            Self::Master => MasterElection::new(client, "/masters/one").observe(),
        }
    }
}

/// Who believes to lead.
#[derive(Default)]
struct Leading(Mutex<Vec<(usize, Zxid)>>);

impl Leading {
    fn note(&self, process: usize, role: Role) {
        let mut leading = self.0.lock().unwrap();
        match role {
            Role::Leader { token } => {
                if leading.iter().any(|(who, known)| *who == process && *known == token) {
                    return;
                }
                leading.retain(|(who, _)| *who != process);
                assert!(leading.is_empty(), "{process} leads, and so do {leading:?}");
                leading.push((process, token));
            }
            // Suspended is still leading, as far as anybody knows.
            Role::Suspended => {}
            Role::Waiting | Role::Out => leading.retain(|(who, _)| *who != process),
        }
    }
}

async fn elect(world: World, form: Form) {
    let leading = Arc::new(Leading::default());
    let reigns = Arc::new(Mutex::new(0));
    let mut tasks = Vec::new();
    for process in 0..PROCESSES {
        let (world, leading, reigns) = (world.clone(), leading.clone(), reigns.clone());
        tasks.push(tokio::spawn(async move {
            let mut random = world.random();
            let mut reigned = 0;
            while reigned < 2 {
                let client = world.client(process).await;
                let mut candidate = form.join(&client, format!("p{process}"));
                let mut ends = None;
                loop {
                    let until = async {
                        match ends {
                            Some(at) => tokio::time::sleep_until(at).await,
                            None => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        biased;
                        role = candidate.changed() => {
                            let role = role.unwrap_or(Role::Out);
                            leading.note(process, role);
                            match role {
                                Role::Leader { .. } => {
                                    ends.get_or_insert_with(|| tokio::time::Instant::now() + random.millis(200));
                                }
                                Role::Out => break,
                                Role::Waiting => ends = None,
                                Role::Suspended => {}
                            }
                        }
                        () = until => {
                            reigned += 1;
                            *reigns.lock().unwrap() += 1;
                            leading.note(process, Role::Waiting);
                            if random.percent(50) {
                                candidate.leave().await;
                            } else {
                                drop(candidate);
                            }
                            break;
                        }
                    }
                }
                client.close().await;
            }
        }));
    }
    if let Some(victim) = perhaps_kill(&world, &mut tasks, 0..PROCESSES, 500).await {
        // It is dead, whatever it believed.
        leading.0.lock().unwrap().retain(|(who, _)| *who != victim);
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert!(*reigns.lock().unwrap() >= 4);
    world.be_kind();
    let left = world.left_over().await;
    assert!(left.keys().all(|path| !path.contains("_c_") && path != "/masters/one"), "orphans: {left:?}");
}

#[test]
fn leader_latch() {
    schedules("leader_latch", |world| elect(world, Form::Latch));
}

#[test]
fn master_election() {
    schedules("master_election", |world| elect(world, Form::Master));
}

/// An observer sees in the end who leads, and that nobody does.
async fn observed(world: World, form: Form) {
    let client = world.client(0).await;
    let watcher = world.client(1).await;
    let mut observer = form.observe(&watcher);
    let mut candidate = form.join(&client, "the one".to_owned());
    let led = candidate.leads().await;
    let sees = |leader: &Option<Leader>| leader.as_ref().map(|leader| (leader.token, leader.id.to_vec()));
    if let Some(token) = led {
        let wanted = Some((token, b"the one".to_vec()));
        loop {
            if sees(&observer.leader()) == wanted
                || watcher.status().is_ended()
                || candidate.role() != (Role::Leader { token })
            {
                break;
            }
            let _ = tokio::time::timeout(Duration::from_secs(1), observer.changed()).await;
        }
    }
    if world.random().percent(30) {
        world.kill(0);
    } else {
        candidate.leave().await;
        client.close().await;
    }
    world.be_kind();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(watcher.status().is_ended() || observer.leader().is_none(), "{:?}", observer.leader());
    watcher.close().await;
}

#[test]
fn leader_observer() {
    schedules("leader_observer", |world| async move {
        let form = if world.random().percent(50) { Form::Latch } else { Form::Master };
        observed(world, form).await;
    });
}
