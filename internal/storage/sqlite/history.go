package sqlite

import (
	"context"
	"fmt"

	"github.com/rushmore/zbus-go/internal/storage"
)

func (b *batch) InsertHistory(op *storage.PutHistory) error {
	if b.refuse {
		return errLow
	}
	b.add(insertHistory, 1, int64(op.Series.Topic), int64(op.Series.Group), int64(op.Level), int64(len(op.Data)), op.Data,
		historySum(op.Series, op.Level, op.Data))
	return nil
}

func (b *batch) DeleteHistory(op *storage.DropHistory) {
	b.add(deleteHistory, anyRows, int64(op.Series.Topic), int64(op.Series.Group), int64(op.Level), op.To)
}

func (b *batch) ForgetHistory(of storage.Series) {
	b.add(deleteGroupHistory, anyRows, int64(of.Topic), int64(of.Group))
}

// History implements [storage.Store].
func (s *Store) History(ctx context.Context, of storage.Series, least, most uint8) (list []storage.HistoryChunk, err error) {
	err = s.read(ctx, func(c *conn) error {
		for row, err := range c.rows(selectHistory, int64(of.Topic), int64(of.Group), int64(least), int64(most)) {
			if err != nil {
				return err
			}
			k := storage.HistoryChunk{ID: integer(row[0]), Level: uint8(integer(row[1])), Data: blob(row[2])}
			if integer(row[3]) != historySum(of, k.Level, k.Data) {
				k.Data = nil
			}
			list = append(list, k)
		}
		return nil
	})
	return list, err
}

// HistorySizes implements [storage.Store].
func (s *Store) HistorySizes(ctx context.Context) (list []storage.HistorySize, err error) {
	err = s.read(ctx, func(c *conn) error {
		for row, err := range c.rows(selectHistorySizes) {
			if err != nil {
				return err
			}
			of := storage.Series{Topic: storage.TopicID(integer(row[0])), Group: storage.GroupID(integer(row[1]))}
			list = append(list, storage.HistorySize{Series: of, Bytes: integer(row[2]), Last: integer(row[3])})
		}
		return nil
	})
	return list, err
}

// history checks that what is kept of figures is as it was written.
func (k *checker) history() error {
	damaged := 0
	for row, err := range k.c.ask("SELECT topic_id, group_id, level, data, sum FROM history") {
		if err != nil {
			return translate(err)
		}
		of := storage.Series{Topic: storage.TopicID(integer(row[0])), Group: storage.GroupID(integer(row[1]))}
		if integer(row[4]) != historySum(of, uint8(integer(row[2])), blob(row[3])) {
			damaged++
		}
	}
	if damaged > 0 {
		k.found(Finding{Kind: FoundStructure, Text: fmt.Sprintf("%d pieces of the history of figures are damaged: charts have gaps there", damaged)})
	}
	return nil
}
