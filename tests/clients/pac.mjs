// Asks a proxy auto-configuration file which way leads to each host: pac.mjs FILE HOST... prints one answer a line.
// It runs the file with the functions that browsers give it, and no others.
import { readFileSync } from "node:fs";
import vm from "node:vm";

const [file, ...hosts] = process.argv.slice(2);
const number = (address) => address.split(".").reduce((all, part) => all * 256 + Number(part), 0);
const browser = vm.createContext({
  dnsDomainIs: (host, domain) => host.endsWith(domain),
  isInNet: (host, network, mask) =>
    ((number(host) ^ number(network)) & number(mask)) === 0,
});
vm.runInContext(readFileSync(file, "utf8"), browser);
for (const host of hosts) {
  console.log(browser.FindProxyForURL(`https://${host}/`, host));
}
