// Once for all files, which run at the same time: the broker of this tree is built.
import { build } from './broker';

export default function () {
  process.env.BROKER ??= build();
}
