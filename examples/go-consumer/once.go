package main

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
)

// runOnce consumes until the group has committed, in every partition, the offset that is the end now. Members in other
// processes may do a part of it.
func (c *consumer) runOnce(ctx context.Context) error {
	admin := kadm.NewClient(c.kafka)
	starts, err := admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return fmt.Errorf("Kafka does not say where %s begins: %w", topic, err)
	}
	ends, err := admin.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return fmt.Errorf("Kafka does not say where %s ends: %w", topic, err)
	}
	for {
		committed, err := admin.FetchOffsetsForTopics(ctx, group, topic)
		if err != nil {
			return fmt.Errorf("Kafka does not say what %s has committed: %w", group, err)
		}
		if hasReached(starts.Offsets(), committed.Offsets(), ends.Offsets()) {
			return nil
		}
		if err := c.step(ctx); err != nil {
			return err
		}
	}
}

// hasReached is true if nothing lies between the committed offsets and the ends. A partition without a commit is at
// its start.
func hasReached(starts, committed, ends kadm.Offsets) bool {
	for partition, end := range ends[topic] {
		position := starts[topic][partition].At
		if at, ok := committed.Lookup(topic, partition); ok {
			position = max(position, at.At)
		}
		if position < end.At {
			return false
		}
	}
	return true
}
