package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"
)

const (
	topic     = "orders"
	eventType = "OrderPlaced"
)

// readerSchema is a copy of a published version of the contract. Published versions never change, and every later
// one can be read with it.
//
//go:embed order_placed_v1.avsc
var readerSchema string

// orderPlaced has every field of readerSchema.
type orderPlaced struct {
	OrderID       string      `avro:"order_id"`
	OrderVersion  int32       `avro:"order_version"`
	CustomerID    string      `avro:"customer_id"`
	Currency      string      `avro:"currency"`
	TotalCents    int64       `avro:"total_cents"`
	PaymentMethod string      `avro:"payment_method"`
	CardToken     *string     `avro:"card_token"`
	Lines         []orderLine `avro:"lines"`
	OccurredAt    int64       `avro:"occurred_at"`
}

type orderLine struct {
	ProductID      string `avro:"product_id"`
	Quantity       int32  `avro:"quantity"`
	UnitPriceCents int64  `avro:"unit_price_cents"`
}

// order is an event with the id by which a repeat is recognised.
type order struct {
	eventID pgtype.UUID
	orderPlaced
}

// permanent is the reason why a record can never be decoded; any other error may pass.
type permanent struct{ reason string }

func (p permanent) Error() string { return p.reason }

func never(format string, args ...any) error { return permanent{fmt.Sprintf(format, args...)} }

// contract decodes records by the schema that each was written with, which it asks the registry for once.
type contract struct {
	registry *sr.Client
	reader   *avro.Schema
	byID     map[int]*avro.Schema
}

func newContract(registryURL string) (*contract, error) {
	registry, err := sr.NewClient(sr.URLs(registryURL), sr.HTTPClient(&http.Client{Timeout: 5 * time.Second}))
	if err != nil {
		return nil, fmt.Errorf("the registry's URL cannot be used: %w", err)
	}
	reader, err := avro.Parse(readerSchema)
	if err != nil {
		return nil, fmt.Errorf("order_placed_v1.avsc cannot be used: %w", err)
	}
	return &contract{registry, reader, map[int]*avro.Schema{}}, nil
}

// decode returns the order of a record, or nil if the record is another type's, which concerns other consumers. The
// error is a permanent one, or says that the registry cannot be asked.
func (c *contract) decode(ctx context.Context, record *kgo.Record) (*order, error) {
	named := map[string]string{}
	for _, header := range record.Headers {
		named[header.Key] = string(header.Value)
	}
	switch named["ce_type"] {
	case eventType:
	case "":
		return nil, never("header ce_type is missing")
	default:
		return nil, nil
	}
	var placed order
	if err := placed.eventID.Scan(named["ce_id"]); err != nil {
		return nil, never("header ce_id is missing or not a UUID")
	}
	id, payload, err := new(sr.ConfluentHeader).DecodeID(record.Value)
	if err != nil {
		return nil, never("the value does not begin with a zero byte and a schema id")
	}
	schema, err := c.schemaByID(ctx, id)
	if err != nil {
		return nil, err
	}
	rest, err := schema.Decode(payload, &placed.orderPlaced)
	switch {
	case err != nil:
		return nil, never("not %s: %v", eventType, err)
	case len(rest) > 0:
		return nil, never("%d bytes are left over after %s", len(rest), eventType)
	case placed.OrderID != string(record.Key):
		return nil, never("the key is not the event's order_id")
	}
	return &placed, nil
}

// schemaByID returns a schema that reads what was written with the schema of this id, as an OrderPlaced.
func (c *contract) schemaByID(ctx context.Context, id int) (*avro.Schema, error) {
	if known := c.byID[id]; known != nil {
		return known, nil
	}
	found, err := c.registry.SchemaByID(ctx, id)
	var answer *sr.ResponseError
	switch {
	case errors.As(err, &answer) && sr.IsNotFoundError(answer.ErrorCode):
		return nil, never("no schema has the id %d", id)
	case err != nil:
		return nil, fmt.Errorf("the registry cannot be asked for schema %d: %w", id, err)
	}
	// Avro compares names without their namespaces; a contract's name is all of it.
	var written struct{ Namespace, Name string }
	if err := json.Unmarshal([]byte(found.Schema), &written); err != nil || written.Name != eventType {
		return nil, never("schema %d is of %.100q, not of %s", id, written.Name, eventType)
	}
	writer, err := avro.Parse(found.Schema)
	if err != nil {
		return nil, never("schema %d is not Avro: %v", id, err)
	}
	resolved, err := avro.Resolve(writer, c.reader)
	if err != nil {
		return nil, never("schema %d cannot be read as %s: %v", id, eventType, err)
	}
	c.byID[id] = resolved
	return resolved, nil
}
