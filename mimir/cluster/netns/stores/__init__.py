"""Real stores in the pods: Redis, MariaDB and RabbitMQ, spoken to in their own protocols at the sizes of the model."""
