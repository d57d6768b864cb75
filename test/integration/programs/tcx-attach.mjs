// tcx-attach.mjs PROGRAM_PIN IFINDEX LINK_PIN: attaches a pinned program at tcx ingress and pins the link, as another
// product on the same machine would.
import koffi from 'koffi';

const [programPin, ifindex, linkPin] = process.argv.slice(2);
const libbpf = koffi.load('libbpf.so.1');
const objGet = libbpf.func('int bpf_obj_get(const char *)');
const linkCreate = libbpf.func('int bpf_link_create(int, int, int, void *)');
const objPin = libbpf.func('int bpf_obj_pin(int, const char *)');

const BPF_TCX_INGRESS = 46;

function check(what, result) {
  if (result >= 0) return result;
  console.error(`${what}: ${result}`);
  return process.exit(1);
}

const program = check('bpf_obj_get', objGet(programPin));
const link = check('bpf_link_create', linkCreate(program, Number(ifindex), BPF_TCX_INGRESS, null));
check('bpf_obj_pin', objPin(link, linkPin));
