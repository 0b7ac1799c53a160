package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/kgo"
)

const eventID = "01890a5d-ac96-774b-bcce-b302099a8057"

var (
	// later is a later version of the contract: it has an optional field more.
	later = strings.Replace(readerSchema, `"fields": [`,
		`"fields": [{"name": "coupon", "type": ["null", "string"], "default": null, "doc": "A coupon."},`, 1)
	// wider is another one: it has an enum symbol that today's readers do not know, which the gate would refuse.
	wider    = strings.Replace(readerSchema, `["card", "invoice"]`, `["card", "invoice", "barter"]`, 1)
	stranger = strings.Replace(readerSchema, `"OrderPlaced"`, `"OrderQuoted"`, 1)
	schemas  = map[string]string{"1": readerSchema, "2": later, "3": stranger, "4": wider, "5": "not Avro"}
)

func TestOrdersOfEveryCompatibleVersionAreRead(t *testing.T) {
	contract := contractWithRegistry(t)
	for id, schema := range map[uint32]string{1: readerSchema, 2: later} {
		placed, err := contract.decode(context.Background(), recordOf(t, id, schema, "card"))
		if err != nil || placed == nil {
			t.Fatalf("schema %d: %v", id, err)
		}
		if placed.CustomerID != "ada" || placed.TotalCents != 2980 || placed.Lines[0].Quantity != 2 || placed.CardToken != nil {
			t.Errorf("schema %d: %+v", id, placed)
		}
	}
}

func TestWhatCanNeverBeDecodedIsPermanent(t *testing.T) {
	contract := contractWithRegistry(t)
	for reason, broken := range map[string]*kgo.Record{
		"header ce_type is missing": change(t, func(r *kgo.Record) { r.Headers = r.Headers[1:] }),
		"not a UUID":                change(t, func(r *kgo.Record) { r.Headers[1].Value = []byte("first") }),
		"does not begin":            change(t, func(r *kgo.Record) { r.Value = []byte{1, 0, 0, 0, 1, 0} }),
		"not OrderPlaced":           change(t, func(r *kgo.Record) { r.Value = r.Value[:20] }),
		"1 bytes are left over":     change(t, func(r *kgo.Record) { r.Value = append(r.Value, 0) }),
		"the key is not":            change(t, func(r *kgo.Record) { r.Key = []byte("another") }),
		"no schema has the id 99":   recordOf(t, 99, readerSchema, "card"),
		`of "OrderQuoted"`:          recordOf(t, 3, stranger, "card"),
		"schema 5":                  recordOf(t, 5, readerSchema, "card"),
		"schema 4 cannot be read":   recordOf(t, 4, wider, "barter"),
	} {
		placed, err := contract.decode(context.Background(), broken)
		var found permanent
		if placed != nil || !errors.As(err, &found) || !strings.Contains(found.reason, reason) {
			t.Errorf("%s: got %v, %v", reason, placed, err)
		}
	}
}

func TestOtherTypesAreLeftToOthers(t *testing.T) {
	other := change(t, func(r *kgo.Record) { r.Headers[0].Value, r.Value = []byte("OrderConfirmed"), nil })
	if placed, err := contractWithRegistry(t).decode(context.Background(), other); placed != nil || err != nil {
		t.Errorf("got %v, %v", placed, err)
	}
}

func TestARegistryThatDoesNotAnswerIsNotTheRecordsFault(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler()) // as a proxy answers, or a wrong address
	defer gone.Close()
	contract, err := newContract(gone.URL)
	if err != nil {
		t.Fatal(err)
	}
	_, err = contract.decode(context.Background(), recordOf(t, 1, readerSchema, "card"))
	if err == nil || errors.As(err, new(permanent)) {
		t.Errorf("got %v", err)
	}
}

// contractWithRegistry has a registry that knows schemas.
func contractWithRegistry(t *testing.T) *contract {
	t.Helper()
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		schema, known := schemas[strings.TrimPrefix(r.URL.Path, "/schemas/ids/")]
		if !known {
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"error_code": 40403, "message": "Schema not found"}`))
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"schema": schema})
	}))
	t.Cleanup(registry.Close)
	contract, err := newContract(registry.URL)
	if err != nil {
		t.Fatal(err)
	}
	return contract
}

func change(t *testing.T, by func(*kgo.Record)) *kgo.Record {
	record := recordOf(t, 1, readerSchema, "card")
	by(record)
	return record
}

// recordOf is a record as a producer with this version of the contract would write it.
func recordOf(t *testing.T, id uint32, schema, paymentMethod string) *kgo.Record {
	t.Helper()
	payload, err := avro.MustParse(schema).Encode(map[string]any{
		"coupon": nil, "order_id": "o-1", "order_version": 1, "customer_id": "ada", "currency": "EUR",
		"total_cents": 2980, "payment_method": paymentMethod, "card_token": nil, "occurred_at": 1,
		"lines": []map[string]any{{"product_id": "mug", "quantity": 2, "unit_price_cents": 1490}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &kgo.Record{
		Key:   []byte("o-1"),
		Value: append(binary.BigEndian.AppendUint32([]byte{0}, id), payload...),
		Headers: []kgo.RecordHeader{
			{Key: "ce_type", Value: []byte("OrderPlaced")}, {Key: "ce_id", Value: []byte(eventID)},
		},
	}
}
