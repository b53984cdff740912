package wire

import (
	"bytes"
	"testing"
)

const produceFrame = "POST / HTTP/1.1\r\n" +
	"cmd: produce\r\n" +
	"topic: orders\r\n" +
	"tag: eu.paid\r\n" +
	"id: 0c9a6a0e-0b7c-4f57-9d3b-2d4f6f1f2a11\r\n" +
	"ack: true\r\n" +
	"content-type: application/json\r\n" +
	"connection: Keep-Alive\r\n" +
	"content-length: 256\r\n\r\n"

// endless repeats its bytes forever.
type endless struct {
	data []byte
	at   int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.data[e.at:])
	e.at = (e.at + n) % len(e.data)
	return n, nil
}

func typicalProduce() []byte {
	return append([]byte(produceFrame), bytes.Repeat([]byte("x"), 256)...)
}

func BenchmarkParseProduce(b *testing.B) {
	frame := typicalProduce()
	r := NewReader(&endless{data: bytes.Repeat(frame, 100)}, Limits{})
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		m, err := r.Read()
		if err != nil || len(m.Body) != 256 {
			b.Fatal(m, err)
		}
	}
}

func BenchmarkParseLargeBody(b *testing.B) {
	const size = 1 << 20
	frame := AppendBody(AppendRequestLine(nil, "POST", "/"), make([]byte, size))
	r := NewReader(&endless{data: frame}, Limits{})
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		m, err := r.Read()
		if err != nil || len(m.Body) != size {
			b.Fatal(m, err)
		}
	}
}

func BenchmarkAppendDelivery(b *testing.B) {
	m, err := NewReader(bytes.NewReader(typicalProduce()), Limits{}).Read()
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendStatus(buf[:0], 200)
		buf = AppendField(buf, HeaderID, "4c35ac41-6b0e-4a0c-9d12-5d1d2a9a8f10")
		buf = AppendField(buf, HeaderOriginID, m.Get(HeaderID))
		buf = AppendField(buf, HeaderOriginURL, m.URL)
		buf = AppendInt(buf, HeaderOffset, 123456)
		buf = AppendInt(buf, HeaderTimestamp, 1502960000000)
		for i := range m.Fields {
			switch m.Fields[i].Name {
			case HeaderCmd, HeaderAck, HeaderToken, HeaderConnection, HeaderID:
			default:
				buf = AppendField(buf, m.Fields[i].Name, m.Fields[i].Value)
			}
		}
		buf = AppendBody(buf, m.Body)
	}
	if len(buf) < 256 {
		b.Fatal("short delivery")
	}
}

func BenchmarkJSON(b *testing.B) {
	m, err := NewReader(bytes.NewReader(typicalProduce()), Limits{}).Read()
	if err != nil {
		b.Fatal(err)
	}
	stored := string(AppendJSON(nil, m.Fields))
	b.Run("append", func(b *testing.B) {
		var buf []byte
		b.ReportAllocs()
		for b.Loop() {
			buf = AppendJSON(buf[:0], m.Fields)
		}
	})
	b.Run("range", func(b *testing.B) {
		n := 0
		b.ReportAllocs()
		for b.Loop() {
			if err := RangeJSON(stored, func(_, value string) bool { n += len(value); return true }); err != nil {
				b.Fatal(err)
			}
		}
	})
}
