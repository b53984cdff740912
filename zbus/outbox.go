package zbus

// queueBytes is how much may wait to be written before more requests have to wait
// for their turn.
const queueBytes = 1 << 20

// keepBytes is the size of buffers that are kept for later.
const keepBytes = 2 << 20

// outbox is what is to be written next, already encoded. It is guarded by Client.mu.
type outbox struct {
	buf     []byte
	frames  []frame // what buf is made of, in order
	dropped int     // of the frames, how many belong to requests that are settled
}

// frame is one message in a buffer.
type frame struct {
	end   int      // in the buffer; it starts where the one before ends
	r     *request // nil if there is no answer to it
	epoch uint64   // of the connection that it is bound to; 0 is any
}

// add notes the frame that was appended to the buffer.
func (o *outbox) add(buf []byte, r *request, epoch uint64) {
	o.buf = buf
	o.frames = append(o.frames, frame{len(buf), r, epoch})
}

// join adds the frames of another one, which is not used any longer.
func (o *outbox) join(other *outbox) {
	start := 0
	for _, f := range other.frames {
		o.add(append(o.buf, other.buf[start:f.end]...), f.r, f.epoch)
		start = f.end
	}
	o.dropped += other.dropped
}

// take gives all there is to the writer, and continues with the buffers given.
func (o *outbox) take(buf []byte, frames []frame) ([]byte, []frame) {
	if o.dropped > 0 {
		o.keep(func(frame) bool { return true })
	}
	outBuf, outFrames := o.buf, o.frames
	for i := range outFrames {
		if r := outFrames[i].r; r != nil {
			r.state = sent
		}
	}
	if cap(buf) > keepBytes {
		buf = nil
	}
	clear(frames)
	o.buf, o.frames = buf[:0], frames[:0]
	return outBuf, outFrames
}

// keep cuts out the frames of settled requests and those that wanted says no to.
func (o *outbox) keep(wanted func(frame) bool) {
	buf, frames, start := o.buf[:0], o.frames[:0], 0
	for _, f := range o.frames {
		part := o.buf[start:f.end]
		start = f.end
		if f.r != nil && f.r.state == settled || !wanted(f) {
			continue
		}
		buf = append(buf, part...)
		f.end = len(buf)
		frames = append(frames, f)
	}
	clear(o.frames[len(frames):])
	o.buf, o.frames, o.dropped = buf, frames, 0
}
