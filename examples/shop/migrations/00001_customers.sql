-- +goose Up
CREATE TABLE shop_customer (
    id             text PRIMARY KEY,
    email          text, -- NULL, never '', when there is none
    email_verified boolean NOT NULL,
    name           text NOT NULL,
    points         integer NOT NULL,
    created_at     timestamptz NOT NULL
);
CREATE UNIQUE INDEX shop_customer_email ON shop_customer (email);

-- +goose Down
DROP TABLE shop_customer;
