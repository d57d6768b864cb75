/** What the kernel says a device's driver can do with XDP (generic netlink family `netdev`, Linux 6.3). */
import { decodeAttributes, encodeAttribute, u32Bytes } from './message.js';
import { NetlinkError, RequestSocket } from './request-socket.js';

const NETLINK_GENERIC = 16;
const CONTROL_FAMILY = 16;
const CONTROL_GET_FAMILY = 3;
const CONTROL_FAMILY_ID = 1;
const CONTROL_FAMILY_NAME = 2;
const NETDEV_GET = 1;
const NETDEV_IFINDEX = 1;
const NETDEV_XDP_FEATURES = 3;
const HEADER_SIZE = 4;

/** Bits of enum netdev_xdp_act; undefined when this kernel cannot say or there is no such device. */
export function readXdpFeatures(ifindex: number): number | undefined {
  const socket = new RequestSocket(NETLINK_GENERIC);
  try {
    const family = findFamily(socket);
    if (family === undefined) return undefined;
    const body = Buffer.concat([header(NETDEV_GET), encodeAttribute(NETDEV_IFINDEX, u32Bytes(ifindex))]);
    const features = attributeOf(socket.request(family, 0, body), NETDEV_XDP_FEATURES);
    return features && Number(features.getBigUint64(0, true));
  } catch (error) {
    if (error instanceof NetlinkError) return undefined;
    throw error;
  } finally {
    socket.close();
  }
}

function findFamily(socket: RequestSocket): number | undefined {
  const name = encodeAttribute(CONTROL_FAMILY_NAME, new Uint8Array(Buffer.from('netdev\0')));
  const body = Buffer.concat([header(CONTROL_GET_FAMILY), name]);
  return attributeOf(socket.request(CONTROL_FAMILY, 0, body), CONTROL_FAMILY_ID)?.getUint16(0, true);
}

/** struct genlmsghdr */
function header(command: number): Uint8Array {
  return new Uint8Array([command, 1, 0, 0]);
}

function attributeOf(answers: readonly { body: DataView }[], type: number): DataView | undefined {
  const body = answers[0]?.body;
  return body && decodeAttributes(body, HEADER_SIZE).get(type);
}
