"""Events between processes, over RabbitMQ."""
