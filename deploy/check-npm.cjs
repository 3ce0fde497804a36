/**
 * Checks that this npm and its Node.js can install the packages; `npm start` and install.sh run it before they install.
 * CommonJS without dependencies, because a very old Node.js may run it.
 */
'use strict';

const OLDEST_NPM = 9;
const OLDEST_NODE = 18;
/** The oldest release line that the tests install with. */
const ADVISED_NODE = 20;
const advice = `Install Node.js ${ADVISED_NODE} or later with its npm (https://nodejs.org/en/download), or use a release of DockerProxy, which needs no npm (see deploy/README.md).`;

// npm states its version and that of the Node.js that runs it. `node` in the path can be a different one.
const agent = process.env.npm_config_user_agent || '';
const npm = versionOf('npm');
const node = versionOf('node') || process.versions.node;

if (npm && parseInt(npm, 10) < OLDEST_NPM) fail(`npm ${npm} is too old to install DockerProxy.`);
else if (parseInt(node, 10) < OLDEST_NODE) fail(`Node.js ${node} is too old to install DockerProxy.`);
else if (parseInt(node, 10) < ADVISED_NODE) {
  say(
    `Node.js ${node} has reached its end of life. It is used only to install the packages; DockerProxy runs on its own Node.js 24. If the installation fails: ${advice}`,
  );
}

function versionOf(name) {
  const found = new RegExp(`(?:^| )${name}/v?([0-9][^ ]*)`).exec(agent);
  return found ? found[1] : undefined;
}

function fail(reason) {
  say(`${reason} ${advice}`);
  process.exitCode = 1;
}

function say(sentence) {
  process.stderr.write(`DockerProxy: ${sentence}\n`);
}
