import { assert, assertEquals, assertThrows } from "@std/assert";
import { EventFd } from "../../host/event_fd.ts";
import { closeDescriptor, SystemError } from "../../host/libc.ts";
import { makeMemoryFile, MappedFile, MappingError } from "../../host/mapped_file.ts";
import { Poller } from "../../host/poller.ts";
import { UnixListener, UnixSocket, WOULD_BLOCK } from "../../host/unix_socket.ts";
import { WallClock } from "../../host/wall_clock.ts";
import { belongings, LINUX } from "./served.ts";

Deno.test({
  ...LINUX,
  name: "MappedFile shares bytes with other mappings of the same file",
  fn() {
    const before = belongings();
    const fd = makeMemoryFile(0x5000);
    {
      using whole = new MappedFile(fd, 0, 0x5000);
      using some = new MappedFile(fd, 0x1080, 0x2100);
      const { bytes } = whole.part().memory;
      const first = some.part(0, 0x100);
      assertEquals([first.offset, first.memory.size], [0x80, 0x180]);
      bytes[0x1081] = 77;
      assertEquals(first.memory.bytes[first.offset + 1], 77);
      const last = some.part(0x20ff, 1);
      assertEquals([last.offset, last.memory.size], [0x17f, 0x180]);
      last.memory.bytes[last.offset] = 78;
      assertEquals(bytes[0x1080 + 0x20ff], 78);
      assert(some.sealed);
      for (const [offset, size] of [[0, 0x2101], [0x2100, 1], [-1, 2], [0, 0], [0.5, 1e9]]) {
        assertThrows(() => some.part(offset, size), RangeError, "of 8448 mapped bytes");
      }
    }
    closeDescriptor(fd);
    assertEquals(belongings(), before);
  },
});

Deno.test({
  ...LINUX,
  name: "MappedFile leaves empty views behind, not holes",
  fn() {
    const fd = makeMemoryFile(0x1000);
    const mapped = new MappedFile(fd, 0, 0x1000);
    closeDescriptor(fd);
    const views = [mapped.part().memory, mapped.part(0x800, 0x10).memory];
    mapped.close();
    mapped.close();
    for (const { bytes } of views) assertEquals([bytes.length, bytes[0]], [0, undefined]);
    assertThrows(() => mapped.part(), RangeError, "Cannot look at");
  },
});

Deno.test({
  ...LINUX,
  name: "MappedFile refuses what is no file, and a file that is smaller than it should be",
  fn() {
    const before = belongings();
    const fd = makeMemoryFile(0x1000, false);
    using event = new EventFd();
    assertThrows(() => new MappedFile(event.fd, 0, 0x1000), MappingError, "not a file");
    assertThrows(() => new MappedFile(fd, 0, 0x1001), MappingError, "wanted 0+4097, has 4096");
    assertThrows(() => new MappedFile(fd, 0x1000, 1), MappingError, "too small");
    assertThrows(() => new MappedFile(fd, 0, Infinity), MappingError, "too small");
    assertThrows(() => new MappedFile(-1, 0, 1), SystemError, "look at a descriptor");
    const unsealed = new MappedFile(fd, 0, 0x1000);
    assertEquals(unsealed.sealed, false);
    unsealed.close();
    closeDescriptor(fd);
    assertEquals(belongings().mappings, before.mappings);
  },
});

Deno.test({
  ...LINUX,
  name: "EventFd counts, and takes over only what is one",
  fn() {
    using event = new EventFd();
    assertEquals(event.clear(), false);
    event.signal();
    event.signal();
    assertEquals([event.clear(), event.clear()], [true, false]);
    const file = makeMemoryFile(4096);
    assertThrows(() => new EventFd(file), TypeError, "not an eventfd");
    closeDescriptor(file);
  },
});

Deno.test({
  ...LINUX,
  name: "UnixSocket passes descriptors with bytes, and tells an end from a pause",
  fn() {
    const [left, right] = UnixSocket.pair();
    const fds: number[] = [];
    const bytes = new Uint8Array(8);
    assertEquals(right.receive(bytes, 0, 8, fds), WOULD_BLOCK);
    const file = makeMemoryFile(4096);
    left.send(Uint8Array.from([1, 2, 3]), [file, file]);
    assertEquals(right.receive(bytes, 2, 6, fds), 3);
    assertEquals([...bytes], [0, 0, 1, 2, 3, 0, 0, 0]);
    assertEquals(fds.length, 2);
    assert(fds.every((fd) => fd !== file));
    [...fds, file].forEach(closeDescriptor);
    left.close();
    assertEquals(right.receive(bytes, 0, 8, fds), 0);
    assertThrows(() => right.send(bytes), SystemError, "Broken pipe");
    right.close();
  },
});

Deno.test({
  ...LINUX,
  name: "UnixSocket refuses more descriptors than any message has, and keeps those it got",
  fn() {
    const before = belongings().fds;
    const [left, right] = UnixSocket.pair();
    const file = makeMemoryFile(4096);
    left.send(Uint8Array.from([1]), Array.from({ length: 200 }, () => file));
    const fds: number[] = [];
    assertThrows(() => right.receive(new Uint8Array(8), 0, 8, fds), RangeError, "64 descriptors");
    [...fds, file].forEach(closeDescriptor);
    left.close();
    right.close();
    assertEquals(belongings().fds, before);
  },
});

Deno.test({
  ...LINUX,
  name: "UnixListener replaces the socket of a dead process, and nothing else",
  fn() {
    const directory = Deno.makeTempDirSync();
    const path = `${directory}/socket`;
    const dead = new UnixListener(path);
    assertThrows(() => new UnixListener(path), SystemError, "where another program listens: Address already");
    closeDescriptor(dead.fd);
    assert(Deno.statSync(path).isSocket);
    {
      using listener = new UnixListener(path);
      assertEquals(listener.accept(), undefined);
      using client = UnixSocket.connect(path)!;
      using accepted = listener.accept()!;
      client.send(Uint8Array.from([5]));
      assertEquals(accepted.receive(new Uint8Array(1), 0, 1, []), 1);
    }
    assertThrows(() => Deno.statSync(path), Deno.errors.NotFound);
    assertEquals(UnixSocket.connect(path), undefined);
    Deno.writeTextFileSync(path, "mine");
    assertThrows(() => new UnixListener(path), SystemError, "which is something else than a socket: Address");
    assertEquals(Deno.readTextFileSync(path), "mine");
    assertThrows(() => new UnixListener(`${directory}/${"x".repeat(120)}`), TypeError, "1 to 107 bytes");
    assertThrows(() => new UnixListener(`${directory}/none/socket`), SystemError, "No such file");
    Deno.removeSync(directory, { recursive: true });
  },
});

Deno.test({
  ...LINUX,
  name: "Poller tells which descriptor is ready, and can be woken",
  async fn() {
    using poller = new Poller();
    using first = new EventFd();
    using second = new EventFd();
    poller.watch([first.fd, second.fd]);
    second.signal();
    await poller.wait(Infinity);
    assertEquals([poller.ready(0), poller.ready(1)], [false, true]);
    second.clear();
    poller.look();
    assertEquals([poller.ready(0), poller.ready(1)], [false, false]);
    const waiting = poller.wait(Infinity);
    assertThrows(() => poller.watch([]), TypeError, "during a wait");
    poller.wake();
    await waiting;
    assertEquals([poller.ready(0), poller.ready(1)], [false, false]);
  },
});

Deno.test({
  ...LINUX,
  name: "WallClock agrees with Date",
  fn() {
    const before = Date.now();
    const clock = new WallClock();
    const after = Date.now();
    const milliseconds = clock.seconds * 1000 + Math.floor(clock.nanoseconds / 1e6);
    assert(before <= milliseconds && milliseconds <= after);
  },
});
