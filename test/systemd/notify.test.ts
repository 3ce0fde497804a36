import assert from 'node:assert/strict';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { createServiceManager } from '../../src/systemd/notify.ts';
import { skipUnless } from '../support/packages.ts';
import { spawnUntil } from '../support/process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';

const PID = 4242;
const fail = (error: Error): never => assert.fail(error);

/** A Perl program that prints the notices from a datagram socket, as a service manager reads them. It ends once its output is closed. */
const READER = `
  use IO::Socket::UNIX;
  my $socket = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $ARGV[0]) or die $!;
  $| = 1;
  print "reading\\n";
  while (defined $socket->recv(my $message, 4096)) { print "$message\\n" }
`;

async function startReader() {
  const folder = await temporaryFolder();
  const socket = join(folder.path, 'notify');
  const reader = await spawnUntil('perl', ['-e', READER, socket], (running) =>
    running.stdout().startsWith('reading'),
  );
  return {
    variables: { PATH: process.env.PATH, NOTIFY_SOCKET: socket },
    sent: () => reader.stdout().slice('reading\n'.length),
    [Symbol.asyncDispose]: async () => {
      await reader.stop();
      await folder[Symbol.asyncDispose]();
    },
  };
}

suite('messages to systemd', { skip: skipUnless('perl', 'systemd'), timeout: 600_000 }, () => {
  test('that it serves, and that it ends and how long that may take', async () => {
    await using reader = await startReader();
    const manager = createServiceManager({ variables: reader.variables, pid: PID, onFailure: fail });
    await manager.ready('Listening on http://127.0.0.1:8080');
    await waitFor(() => /READY=1\nSTATUS=Listening on http:\/\/127\.0\.0\.1:8080/.test(reader.sent()));
    await manager.stopping(40_000);
    await waitFor(() => /STOPPING=1\n.*\nEXTEND_TIMEOUT_USEC=40000000/.test(reader.sent()));
  });

  test('that it is alive, twice in the time of the watchdog, until it ends', async () => {
    await using reader = await startReader();
    const variables = { ...reader.variables, WATCHDOG_PID: `${PID}`, WATCHDOG_USEC: '100000' };
    const manager = createServiceManager({ variables, pid: PID, onFailure: fail });
    assert.equal(reader.sent(), '');
    await manager.ready('');
    await waitFor(() => (reader.sent().match(/WATCHDOG=1/g)?.length ?? 0) >= 2);
    await manager.stopping(0);
  });

  test('nothing more while the service does not do its work, so that it is started again', async () => {
    await using reader = await startReader();
    const variables = { ...reader.variables, WATCHDOG_PID: `${PID}`, WATCHDOG_USEC: '100000' };
    let looks = 0;
    const isAlive = () => ++looks < 3;
    const manager = createServiceManager({ variables, pid: PID, isAlive, onFailure: fail });
    await manager.ready('');
    await waitFor(() => looks >= 5);
    await manager.stopping(0);
    await waitFor(() => reader.sent().includes('STOPPING=1'));
    assert.equal(reader.sent().match(/WATCHDOG=1/g)?.length, 2);
  });

  test('nothing where the watchdog is another process’s', async () => {
    await using reader = await startReader();
    const variables = { ...reader.variables, WATCHDOG_PID: '1', WATCHDOG_USEC: '2' };
    const manager = createServiceManager({ variables, pid: PID, onFailure: fail });
    await manager.ready('');
    await manager.stopping(0);
    await waitFor(() => reader.sent().includes('STOPPING=1'));
    assert.doesNotMatch(reader.sent(), /WATCHDOG/);
  });
});

suite('without systemd', () => {
  test('no message is sent', async () => {
    const manager = createServiceManager({ variables: { PATH: '/nowhere' }, pid: PID, onFailure: fail });
    await manager.ready('');
    await manager.stopping(0);
  });

  test('a manager that is not reachable does not end the service', async () => {
    const failures: Error[] = [];
    const variables = { PATH: '/nowhere', NOTIFY_SOCKET: '/nowhere/notify' };
    const onFailure = (error: Error): number => failures.push(error);
    await createServiceManager({ variables, pid: PID, onFailure }).ready('');
    assert.match(failures[0]?.message ?? '', /systemd-notify ENOENT/);
  });
});
