declare module '*?packed' {
  import type { Packed } from './hash';
  const packed: Packed;
  export default packed;
}
