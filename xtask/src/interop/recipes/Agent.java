// The Java side of `cargo xtask interop recipes`: Curator. Agent host:port what directory id count

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.Revoker;
import org.apache.curator.retry.RetryNTimes;
import org.apache.curator.x.discovery.ServiceDiscovery;
import org.apache.curator.x.discovery.ServiceDiscoveryBuilder;
import org.apache.curator.x.discovery.ServiceInstance;

public class Agent {
    static final int MEMBERS = 4;

    public static void main(String[] args) throws Exception {
        Path directory = Path.of(args[2]);
        String id = args[3];
        int count = Integer.parseInt(args[4]);
        CuratorFramework client = CuratorFrameworkFactory.newClient(args[0], 30000, 15000, new RetryNTimes(10, 200));
        client.start();
        client.blockUntilConnected();
        switch (args[1]) {
            case "lock" -> lock(client, directory, count);
            case "revoke" -> revoke(client, directory, id, count);
            case "elect" -> elect(client, directory, id, count);
            case "barrier" -> barrier(client, directory, id, count);
            case "discover" -> discover(client, directory, id, count);
            default -> throw new IllegalArgumentException(args[1]);
        }
        client.close();
        System.out.println(count);
    }

    /** Fails if the file is there: two holders. */
    static void alone(Path directory, long millis) throws Exception {
        Path holder = directory.resolve("holder");
        Files.createFile(holder);
        Thread.sleep(millis);
        Files.delete(holder);
    }

    static void lock(CuratorFramework client, Path directory, int count) throws Exception {
        InterProcessMutex mutex = new InterProcessMutex(client, "/interop/lock");
        for (int i = 0; i < count; i++) {
            mutex.acquire();
            alone(directory, 0);
            mutex.release();
        }
    }

    /** Two take turns: one holds the lock until it is asked to let go, the other asks, and gets it. */
    static void revoke(CuratorFramework client, Path directory, String id, int count) throws Exception {
        boolean holdsEven = id.equals("even");
        for (int round = 0; round < count; round++) {
            InterProcessMutex mutex = new InterProcessMutex(client, "/interop/revocable");
            Path held = directory.resolve("held-" + round);
            Path heard = directory.resolve("heard-" + round);
            Path got = directory.resolve("got-" + round);
            if ((round % 2 == 0) == holdsEven) {
                CountDownLatch asked = new CountDownLatch(1);
                mutex.makeRevocable(lock -> asked.countDown());
                mutex.acquire();
                Files.createFile(held);
                if (!asked.await(60, TimeUnit.SECONDS)) {
                    throw new IllegalStateException("nobody asked");
                }
                Files.createFile(heard);
                mutex.release();
                until(got);
            } else {
                until(held);
                Revoker.attemptRevoke(client, mutex.getParticipantNodes().iterator().next());
                mutex.acquire();
                if (!Files.exists(heard)) {
                    throw new IllegalStateException("let go before it was asked");
                }
                mutex.release();
                Files.createFile(got);
            }
        }
    }

    static void until(Path file) throws Exception {
        while (!Files.exists(file)) {
            Thread.sleep(1);
        }
    }

    static void elect(CuratorFramework client, Path directory, String id, int count) throws Exception {
        for (int i = 0; i < count; i++) {
            try (LeaderLatch latch = new LeaderLatch(client, "/interop/election", id)) {
                latch.start();
                latch.await();
                alone(directory, 2);
            }
        }
    }

    static long noted(Path directory, String prefix) throws Exception {
        try (var files = Files.list(directory)) {
            return files.filter(file -> file.getFileName().toString().startsWith(prefix)).count();
        }
    }

    static void barrier(CuratorFramework client, Path directory, String id, int count) throws Exception {
        for (int round = 0; round < count; round++) {
            var barrier = new DistributedDoubleBarrier(client, "/interop/barrier-" + round, MEMBERS);
            Files.createFile(directory.resolve("in-" + round + "-" + id));
            if (!barrier.enter(60, TimeUnit.SECONDS) || noted(directory, "in-" + round + "-") != MEMBERS) {
                throw new IllegalStateException("entered before all were there");
            }
            // Nobody leaves before all are in: a member of Curator's that is still on its way in waits for ever then.
            Files.createFile(directory.resolve("entered-" + round + "-" + id));
            while (noted(directory, "entered-" + round + "-") < MEMBERS) {
                Thread.sleep(1);
            }
            Files.createFile(directory.resolve("out-" + round + "-" + id));
            if (!barrier.leave(60, TimeUnit.SECONDS) || noted(directory, "out-" + round + "-") != MEMBERS) {
                throw new IllegalStateException("left before all had left");
            }
        }
    }

    /** Registers, and waits until all members see all members, round by round. */
    @SuppressWarnings("rawtypes")
    static void discover(CuratorFramework client, Path directory, String id, int count) throws Exception {
        for (int round = 0; round < count; round++) {
            String service = "service-" + round;
            ServiceInstance<Map> self = ServiceInstance.<Map>builder()
                    .name(service).id(id).address(id + ".example").port(8000).payload(Map.of("zone", "z-" + id)).build();
            try (ServiceDiscovery<Map> discovery = ServiceDiscoveryBuilder.builder(Map.class)
                    .client(client).basePath("/interop/services").thisInstance(self).build()) {
                discovery.start();
                while (discovery.queryForInstances(service).size() < MEMBERS) {
                    Thread.sleep(5);
                }
                for (ServiceInstance<Map> found : discovery.queryForInstances(service)) {
                    String name = found.getId();
                    if (!found.getName().equals(service) || !found.getAddress().equals(name + ".example")
                            || found.getPort() != 8000 || !found.getPayload().get("zone").equals("z-" + name)) {
                        throw new IllegalStateException(found.toString());
                    }
                }
                Files.createFile(directory.resolve("saw-" + round + "-" + id));
                while (noted(directory, "saw-" + round + "-") < MEMBERS) {
                    Thread.sleep(5);
                }
            }
        }
    }
}
